//! Amazon Resource Names: `arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE`. `Locality` is the account and
//! region one Neargate serves; it makes every ARN we hand out and takes apart those that come in.

use crate::ids::{
    AccountId, ClusterName, ContainerId, Family, InstanceId, Region, RepositoryName, ServiceName,
    TaskDefinitionRevision, TaskId,
};
use serde::{Deserialize, Serialize};

/// The account and region of this Neargate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Locality {
    pub region: Region,
    pub account: AccountId,
}

/// An ARN taken apart, borrowing from the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arn<'a> {
    pub partition: &'a str,
    pub service: &'a str,
    pub region: &'a str,
    pub account: &'a str,
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    /// None when the text is no ARN: fewer than six parts, another scheme, or an empty service or
    /// resource.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let scheme = parts.next()?;
        let arn = Self {
            partition: parts.next()?,
            service: parts.next()?,
            region: parts.next()?,
            account: parts.next()?,
            resource: parts.next()?,
        };
        let whole = scheme == "arn"
            && !arn.partition.is_empty()
            && !arn.service.is_empty()
            && !arn.resource.is_empty();
        whole.then_some(arn)
    }

    /// The resource's kind and the rest: `task/default/0123` gives `("task", "default/0123")`.
    pub fn kind_and_rest(&self) -> Option<(&'a str, &'a str)> {
        self.resource.split_once('/').or_else(|| self.resource.split_once(':'))
    }
}

impl Locality {
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region, self.account)
    }

    /// Whether the ARN is of this account and region (an empty one, as in IAM's, counts as ours).
    pub fn owns(&self, arn: &Arn<'_>) -> bool {
        (arn.region.is_empty() || arn.region == self.region.as_str())
            && (arn.account.is_empty() || arn.account == self.account.as_str())
    }

    pub fn cluster(&self, name: &ClusterName) -> String {
        self.arn("ecs", &format!("cluster/{name}"))
    }

    pub fn service(&self, cluster: &ClusterName, name: &ServiceName) -> String {
        self.arn("ecs", &format!("service/{cluster}/{name}"))
    }

    pub fn task(&self, cluster: &ClusterName, id: &TaskId) -> String {
        self.arn("ecs", &format!("task/{cluster}/{id}"))
    }

    pub fn container(&self, cluster: &ClusterName, task: &TaskId, id: &ContainerId) -> String {
        self.arn("ecs", &format!("container/{cluster}/{task}/{id}"))
    }

    pub fn container_instance(&self, cluster: &ClusterName, id: &InstanceId) -> String {
        self.arn("ecs", &format!("container-instance/{cluster}/{id}"))
    }

    pub fn task_definition(&self, family: &Family, revision: TaskDefinitionRevision) -> String {
        self.arn("ecs", &format!("task-definition/{family}:{revision}"))
    }

    pub fn log_group(&self, name: &str) -> String {
        self.arn("logs", &format!("log-group:{name}"))
    }

    pub fn repository(&self, name: &RepositoryName) -> String {
        self.arn("ecr", &format!("repository/{name}"))
    }

    /// The host part of image names of our own registry, as ECR writes it.
    pub fn registry_host(&self) -> String {
        format!("{}.dkr.ecr.{}.amazonaws.com", self.account, self.region)
    }

    /// `us-east-1a` gives `use1-az1`. Source: ECS and EC2 user guides, "Availability Zone IDs".
    pub fn zone_id(&self, zone: &str) -> String {
        let letter = zone.bytes().last().unwrap_or(b'a');
        let number = letter.saturating_sub(b'a').saturating_add(1);
        format!("{}-az{number}", short_region(self.region.as_str()))
    }

    pub fn root_principal(&self) -> String {
        format!("arn:aws:iam::{}:root", self.account)
    }
}

/// `ap-southeast-1` gives `apse1`: the first part, the initials of the direction, the number. What
/// does not look like a region of AWS stays as it is.
fn short_region(region: &str) -> String {
    let parts: Vec<&str> = region.split('-').collect();
    let [first, .., direction, number] = parts.as_slice() else { return region.to_owned() };
    let initials = match *direction {
        "north" => "n",
        "northeast" => "ne",
        "northwest" => "nw",
        "east" => "e",
        "southeast" => "se",
        "south" => "s",
        "southwest" => "sw",
        "west" => "w",
        "central" => "c",
        _ => return region.to_owned(),
    };
    let middle = if parts.len() == 4 { &parts[1][..parts[1].len().min(1)] } else { "" };
    format!("{first}{middle}{initials}{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_the_ids_aws_gives_them() {
        for (zone, id) in [
            ("us-east-1a", "use1-az1"),
            ("eu-west-2b", "euw2-az2"),
            ("ap-northeast-1c", "apne1-az3"),
            ("us-gov-west-1a", "usgw1-az1"),
            ("ca-central-1a", "cac1-az1"),
            ("homea", "home-az1"),
        ] {
            let region = &zone[..zone.len() - 1];
            let locality = Locality { region: region.into(), account: "0".into() };
            assert_eq!(locality.zone_id(zone), id);
        }
    }

    #[test]
    fn an_arn_is_taken_apart_and_nonsense_is_refused() {
        let arn =
            Arn::parse("arn:aws:ecs:us-east-1:000000000000:task/default/01ab").expect("valid");
        assert_eq!((arn.service, arn.region, arn.account), ("ecs", "us-east-1", "000000000000"));
        assert_eq!(arn.kind_and_rest(), Some(("task", "default/01ab")));
        let group =
            Arn::parse("arn:aws:logs:us-east-1:000000000000:log-group:/a:b").expect("valid");
        assert_eq!(group.resource, "log-group:/a:b");
        for bad in ["", "arn", "arn:aws:ecs", "arn:aws:ecs:r:a:", "urn:aws:ecs:r:a:x", "default"] {
            assert_eq!(Arn::parse(bad), None, "{bad}");
        }
    }
}
