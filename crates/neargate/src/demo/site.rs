//! What the demo makes in front of its tasks: a security group, a load balancer with a listener,
//! and a target group; and the end of all of it. The APIs are AWS's query form, as SDKs speak it.

use crate::client::Client;
use crate::web;
use anyhow::{Context, Result, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::time::{Duration, Instant};

/// The name of all of it.
const NAME: &str = "neargate-demo";
const EC2: (&str, &str) = ("ec2", "2016-11-15");
const ELB: (&str, &str) = ("elasticloadbalancing", "2015-12-01");
/// How long a load balancer's interfaces may hold its security group, in seconds.
const RELEASE_SECONDS: u64 = 20;
const POLL_MS: u64 = 50;

pub struct Site {
    pub subnets: Vec<String>,
    pub security_group: String,
    pub target_group: String,
    pub url: String,
}

async fn ask(
    client: &Client,
    (service, version): (&str, &str),
    action: &str,
    members: &[(&str, &str)],
) -> Result<String> {
    let mut form = format!("Action={action}&Version={version}");
    for (name, value) in members {
        form += &format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
    }
    client.query(service, &form).await
}

/// What stands in elements of this name, in order.
fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let inside = |part: &'a str| part.split_once(close.as_str()).map(|(text, _)| text);
    xml.split(open.as_str()).skip(1).filter_map(inside).collect()
}

fn element<'a>(xml: &'a str, name: &str) -> Result<&'a str> {
    elements(xml, name).first().copied().with_context(|| format!("no {name} in {xml}"))
}

impl Site {
    pub async fn make(client: &Client) -> Result<Self> {
        let default = [("Filter.1.Name", "default-for-az"), ("Filter.1.Value.1", "true")];
        let found = ask(client, EC2, "DescribeSubnets", &default).await?;
        let vpc = element(&found, "vpcId")?.to_owned();
        let subnets: Vec<String> =
            elements(&found, "subnetId").into_iter().take(2).map(str::to_owned).collect();
        let [one, other] = subnets.as_slice() else { bail!("the default VPC has no two subnets") };
        let security_group = make_group(client, &vpc).await?;
        let port = web::PORT.to_string();
        let made = ask(
            client,
            ELB,
            "CreateTargetGroup",
            &[
                ("Name", NAME),
                ("Protocol", "HTTP"),
                ("Port", &port),
                ("VpcId", &vpc),
                ("TargetType", "ip"),
                ("HealthCheckIntervalSeconds", "5"),
                ("HealthCheckTimeoutSeconds", "2"),
                ("HealthyThresholdCount", "2"),
            ],
        )
        .await?;
        let target_group = element(&made, "TargetGroupArn")?.to_owned();
        let made = ask(
            client,
            ELB,
            "CreateLoadBalancer",
            &[
                ("Name", NAME),
                ("Subnets.member.1", one),
                ("Subnets.member.2", other),
                ("SecurityGroups.member.1", &security_group),
            ],
        )
        .await?;
        let url = format!("http://{}/", element(&made, "DNSName")?);
        ask(
            client,
            ELB,
            "CreateListener",
            &[
                ("LoadBalancerArn", element(&made, "LoadBalancerArn")?),
                ("Protocol", "HTTP"),
                ("Port", "80"),
                ("DefaultActions.member.1.Type", "forward"),
                ("DefaultActions.member.1.TargetGroupArn", &target_group),
            ],
        )
        .await?;
        Ok(Self { subnets, security_group, target_group, url })
    }

    /// How many targets pass their checks, and how many there are.
    pub async fn targets(&self, client: &Client) -> Result<(usize, usize)> {
        let group = [("TargetGroupArn", self.target_group.as_str())];
        let told = ask(client, ELB, "DescribeTargetHealth", &group).await?;
        let each = elements(&told, "TargetHealth");
        let healthy = |health: &&&str| element(health, "State").is_ok_and(|it| it == "healthy");
        Ok((each.iter().filter(healthy).count(), each.len()))
    }
}

/// Lets everybody in to the load balancer, and the load balancer to the tasks.
async fn make_group(client: &Client, vpc: &str) -> Result<String> {
    let named = [("GroupName", NAME), ("GroupDescription", "Of the demo"), ("VpcId", vpc)];
    let made = ask(client, EC2, "CreateSecurityGroup", &named).await?;
    let group = element(&made, "groupId")?.to_owned();
    let port = web::PORT.to_string();
    ask(
        client,
        EC2,
        "AuthorizeSecurityGroupIngress",
        &[
            ("GroupId", &group),
            ("IpPermissions.1.IpProtocol", "tcp"),
            ("IpPermissions.1.FromPort", "80"),
            ("IpPermissions.1.ToPort", "80"),
            ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
            ("IpPermissions.2.IpProtocol", "tcp"),
            ("IpPermissions.2.FromPort", &port),
            ("IpPermissions.2.ToPort", &port),
            ("IpPermissions.2.Groups.1.GroupId", &group),
        ],
    )
    .await?;
    Ok(group)
}

/// Removes what is there, also of a demo that was killed. What isn't there is no failure.
pub async fn remove(client: &Client) -> Result<()> {
    let named = [("Names.member.1", NAME)];
    for (describe, delete, arn) in [
        ("DescribeLoadBalancers", "DeleteLoadBalancer", "LoadBalancerArn"),
        ("DescribeTargetGroups", "DeleteTargetGroup", "TargetGroupArn"),
    ] {
        match ask(client, ELB, describe, &named).await {
            Ok(found) => {
                ask(client, ELB, delete, &[(arn, element(&found, arn)?)]).await?;
            }
            Err(failure) if says(&failure, "NotFound") => {}
            Err(failure) => return Err(failure),
        }
    }
    let filter = [("Filter.1.Name", "group-name"), ("Filter.1.Value.1", NAME)];
    let found = ask(client, EC2, "DescribeSecurityGroups", &filter).await?;
    let Some(group) = elements(&found, "groupId").first().copied().map(str::to_owned) else {
        return Ok(());
    };
    let deadline = Instant::now() + Duration::from_secs(RELEASE_SECONDS);
    loop {
        match ask(client, EC2, "DeleteSecurityGroup", &[("GroupId", &group)]).await {
            // Interfaces hold it until they are gone.
            Err(failure) if says(&failure, "DependencyViolation") && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
            }
            other => return other.map(drop),
        }
    }
}

fn says(failure: &anyhow::Error, code: &str) -> bool {
    format!("{failure:#}").contains(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_in_order() {
        let xml = "<a><id>1</id><b/><id>2</id></a>";
        assert_eq!(elements(xml, "id"), ["1", "2"]);
        assert_eq!(element(xml, "id").expect("there is one"), "1");
        assert!(element(xml, "c").is_err());
    }
}
