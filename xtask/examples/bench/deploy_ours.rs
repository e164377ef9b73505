//! Neargate under `bench deploy`: an ECS service behind an application load balancer, made through
//! the public API as a user would, with the defaults but for how often health is checked.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::Setting;
use crate::client::{Client, ECS, text};
use crate::deploy::{Contender, PATIENCE, until};
use crate::deploy_prober::Door;
use crate::deploy_task::{self, PORT};
use crate::image::Image;
use crate::launch::ROOM;
use crate::meter::Meter;
use crate::neargate::{Neargate, ms};
use crate::tasks::{self, CLUSTER};

const SERVICE: &str = "web";
const NAME: &str = "bench-deploy";
const EC2: (&str, &str) = ("ec2", "2016-11-15");
const ELB: (&str, &str) = ("elasticloadbalancing", "2015-12-01");
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(2);

pub struct Ours {
    neargate: Neargate,
    client: Client,
    image: String,
    door: Door,
}

/// What CreateService has to name.
struct Site {
    subnets: Vec<String>,
    security_group: String,
    target_group: String,
    door: Door,
}

impl Ours {
    pub async fn start(setting: &Setting, image: &Image, count: usize) -> Result<Ours> {
        let neargate = Neargate::up(setting, "neargate", &ROOM).await?;
        let mut client = neargate.client().await?;
        let [by_digest, _] = image.push(&mut client, "bench").await?;
        tasks::create_cluster(&mut client).await?;
        let site = Site::make(&mut client).await?;
        let mut ours = Ours { neargate, client, image: by_digest, door: site.door.clone() };
        ours.create(&site, count).await?;
        Ok(ours)
    }

    /// Ends it; what it left in the kernel is told.
    pub fn end(self) -> Result<()> {
        self.neargate.end()
    }

    async fn create(&mut self, site: &Site, count: usize) -> Result<()> {
        let input = json!({
            "cluster": CLUSTER,
            "serviceName": SERVICE,
            "taskDefinition": self.register().await?,
            "desiredCount": count,
            "launchType": "FARGATE",
            "networkConfiguration": {"awsvpcConfiguration": {
                "subnets": site.subnets,
                "securityGroups": [site.security_group],
            }},
            "loadBalancers": [{
                "targetGroupArn": site.target_group,
                "containerName": "main",
                "containerPort": PORT,
            }],
        });
        self.client.call(ECS, "CreateService", &input).await?;
        self.until_completed().await
    }

    /// Another revision of the same.
    async fn register(&mut self) -> Result<String> {
        let input = json!({
            "family": NAME,
            "requiresCompatibilities": ["FARGATE"],
            "networkMode": "awsvpc",
            "cpu": "256",
            "memory": "512",
            "containerDefinitions": [{
                "name": "main",
                "image": self.image,
                "command": deploy_task::command(),
                "portMappings": [{"containerPort": PORT}],
                "stopTimeout": 2,
            }],
        });
        let answer = self.client.call(ECS, "RegisterTaskDefinition", &input).await?;
        Ok(text(&answer, "/taskDefinition/taskDefinitionArn")?.to_owned())
    }

    async fn service(&mut self) -> Result<Value> {
        let input = json!({"cluster": CLUSTER, "services": [SERVICE]});
        let mut answer = self.client.call(ECS, "DescribeServices", &input).await?;
        Ok(answer["services"][0].take())
    }

    async fn update(&mut self, mut change: Value) -> Result<()> {
        change["cluster"] = json!(CLUSTER);
        change["service"] = json!(SERVICE);
        self.client.call(ECS, "UpdateService", &change).await.map(drop)
    }

    /// Until the primary deployment says COMPLETED.
    async fn until_completed(&mut self) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let service = self.service().await?;
            let deployments = service["deployments"].as_array().context("deployments")?;
            let primary = deployments.iter().find(|it| it["status"] == "PRIMARY");
            match primary.and_then(|it| it["rolloutState"].as_str()) {
                Some("COMPLETED") => return Ok(()),
                Some("FAILED") => bail!("the deployment has failed: {service}"),
                _ if Instant::now() > give_up => bail!("not COMPLETED: {service}"),
                _ => tokio::time::sleep(LOOK_AGAIN_AFTER).await,
            }
        }
    }
}

impl Contender for Ours {
    const NAME: &'static str = "Neargate, behind its load balancer";

    fn door(&self) -> &Door {
        &self.door
    }

    fn meter(&self) -> &Meter {
        &self.neargate.meter
    }

    async fn roll(&mut self) -> Result<f64> {
        let definition = self.register().await?;
        let began = Instant::now();
        self.update(json!({"taskDefinition": definition})).await?;
        self.until_completed().await?;
        Ok(ms(began.elapsed()))
    }

    async fn scale(&mut self, count: usize) -> Result<()> {
        self.update(json!({"desiredCount": count})).await
    }
}

impl Site {
    async fn make(client: &mut Client) -> Result<Site> {
        let default = [("Filter.1.Name", "default-for-az"), ("Filter.1.Value.1", "true")];
        let found = ask(client, EC2, "DescribeSubnets", &default).await?;
        let vpc = first(&found, "vpcId")?;
        let subnets = elements(&found, "subnetId").take(2).map(str::to_owned);
        let subnets: Vec<String> = subnets.collect();
        let [one, other] = subnets.as_slice() else { bail!("the default VPC has no two subnets") };
        let security_group = open_group(client, &vpc).await?;
        let port = PORT.to_string();
        let form = [
            ("Name", NAME),
            ("Protocol", "HTTP"),
            ("Port", port.as_str()),
            ("VpcId", &vpc),
            ("TargetType", "ip"),
            ("HealthCheckIntervalSeconds", "5"),
            ("HealthCheckTimeoutSeconds", "2"),
        ];
        let made = ask(client, ELB, "CreateTargetGroup", &form).await?;
        let target_group = first(&made, "TargetGroupArn")?;
        let form = [
            ("Name", NAME),
            ("Subnets.member.1", one.as_str()),
            ("Subnets.member.2", other),
            ("SecurityGroups.member.1", &security_group),
        ];
        let made = ask(client, ELB, "CreateLoadBalancer", &form).await?;
        let (arn, host) = (first(&made, "LoadBalancerArn")?, first(&made, "DNSName")?);
        let form = [
            ("LoadBalancerArn", arn.as_str()),
            ("Protocol", "HTTP"),
            ("Port", "80"),
            ("DefaultActions.member.1.Type", "forward"),
            ("DefaultActions.member.1.TargetGroupArn", &target_group),
        ];
        ask(client, ELB, "CreateListener", &form).await?;
        let address = address_of(&host).await?;
        let door = Door { address, host, network: None };
        Ok(Site { subnets, security_group, target_group, door })
    }
}

/// By its name, which opens on the machine itself.
async fn address_of(host: &str) -> Result<SocketAddr> {
    let mut found = None;
    until("the load balancer's name opens", || {
        found = (host, 80).to_socket_addrs().ok().and_then(|mut all| all.next());
        found.is_some()
    })
    .await?;
    found.context("it was found")
}

/// Everybody may come to the load balancer, and it to the tasks.
async fn open_group(client: &mut Client, vpc: &str) -> Result<String> {
    let form = [("GroupName", NAME), ("GroupDescription", "bench"), ("VpcId", vpc)];
    let made = ask(client, EC2, "CreateSecurityGroup", &form).await?;
    let group = first(&made, "groupId")?;
    let port = PORT.to_string();
    let form = [
        ("GroupId", group.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "80"),
        ("IpPermissions.1.ToPort", "80"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
        ("IpPermissions.2.IpProtocol", "tcp"),
        ("IpPermissions.2.FromPort", &port),
        ("IpPermissions.2.ToPort", &port),
        ("IpPermissions.2.Groups.1.GroupId", &group),
    ];
    ask(client, EC2, "AuthorizeSecurityGroupIngress", &form).await?;
    Ok(group)
}

async fn ask(
    client: &mut Client,
    (service, version): (&str, &str),
    action: &str,
    members: &[(&str, &str)],
) -> Result<String> {
    let mut form = format!("Action={action}&Version={version}");
    for (name, value) in members {
        // None of them holds what a form would have to escape.
        form += &format!("&{name}={value}");
    }
    client.query(service, &form).await.with_context(|| action.to_owned())
}

/// What stands in elements of this name, in order.
fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let open = format!("<{name}>");
    let parts: Vec<&str> = xml.split(open.as_str()).skip(1).collect();
    parts.into_iter().filter_map(|part| part.split('<').next())
}

fn first(xml: &str, name: &str) -> Result<String> {
    let found = elements(xml, name).next().map(str::to_owned);
    found.with_context(|| format!("no {name} in {xml}"))
}
