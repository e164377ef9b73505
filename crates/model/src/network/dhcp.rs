//! What DHCP would tell the machines of a VPC. A container asks no DHCP server: what of it reaches
//! a task is whom to ask for names and where to look for short ones, told when its interface is
//! attached, as ECS does. NTP and NetBIOS are kept and shown; a container sees neither.
//! Source: VPC user guide, "DHCP option set concepts"; ECS agent, ENI attachments.

use super::Vpc;
use crate::document::Tags;
use crate::ids::DhcpOptionsId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// The value that stands for the VPC's own resolver.
pub const AMAZON_DNS: &str = "AmazonProvidedDNS";
pub const DOMAIN_NAME: &str = "domain-name";
pub const DOMAIN_NAME_SERVERS: &str = "domain-name-servers";
/// Where every VPC has its resolver; who is told of no other finds it there.
const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DhcpOptions {
    pub id: DhcpOptionsId,
    /// As given: `domain-name`, `domain-name-servers` and so on, each with its values.
    pub configurations: Vec<(String, Vec<String>)>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

/// Whom a task asks for names, and where those without a dot are looked for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Resolving {
    pub servers: Vec<Ipv4Addr>,
    pub search: Vec<String>,
}

impl DhcpOptions {
    fn values(&self, key: &str) -> Option<&[String]> {
        let mut all = self.configurations.iter();
        all.find(|(known, _)| known == key).map(|(_, values)| values.as_slice())
    }
}

impl Resolving {
    /// `options` are those of the VPC, if it has any. Servers with an IPv6 address are left out, as
    /// no task speaks IPv6.
    pub fn derive(vpc: &Vpc, options: Option<&DhcpOptions>) -> Self {
        let values = |key| options.and_then(|options| options.values(key));
        let server = |value: &String| match value.eq_ignore_ascii_case(AMAZON_DNS) {
            // AWS: the third address of a VPC's first range.
            true => vpc.cidr.nth(2),
            false => value.parse().ok(),
        };
        // Linux takes a list of domains in the one value.
        let domains = values(DOMAIN_NAME).unwrap_or_default().iter();
        Self {
            servers: match values(DOMAIN_NAME_SERVERS) {
                Some(values) => values.iter().filter_map(server).collect(),
                None => vec![RESOLVER],
            },
            search: domains.flat_map(|it| it.split_whitespace()).map(str::to_owned).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::VpcId;
    use crate::network::Cidr;

    /// Options, each with its values.
    type Given<'a> = &'a [(&'a str, &'a [&'a str])];

    fn told(configurations: Given<'_>) -> (Vec<String>, String) {
        let range = Cidr::parse("10.1.0.0/16").expect("valid");
        let vpc = Vpc::new(VpcId::from("vpc-1"), range, Timestamp(0));
        let of = |(key, values): &(&str, &[&str])| ((*key).to_owned(), owned(values));
        let options = DhcpOptions {
            id: "dopt-1".into(),
            configurations: configurations.iter().map(of).collect(),
            created_at: Timestamp(0),
            tags: Tags::new(),
        };
        let options = Some(&options).filter(|_| !configurations.is_empty());
        let told = Resolving::derive(&vpc, options);
        (told.servers.iter().map(ToString::to_string).collect(), told.search.join(" "))
    }

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn a_task_is_told_whom_to_ask_as_its_vpcs_options_say() {
        let own = "169.254.169.253";
        let cases: [(Given<'_>, &[&str], &str); 6] = [
            // No options at all, and options that name no server.
            (&[], &[own], ""),
            (&[(DOMAIN_NAME, &["corp.example"])], &[own], "corp.example"),
            (&[(DOMAIN_NAME_SERVERS, &[AMAZON_DNS])], &["10.1.0.2"], ""),
            (
                &[(DOMAIN_NAME_SERVERS, &["10.9.0.9", "amazonprovideddns", "10.9.0.8"])],
                &["10.9.0.9", "10.1.0.2", "10.9.0.8"],
                "",
            ),
            (&[(DOMAIN_NAME_SERVERS, &["fd00::1", "10.9.0.9"])], &["10.9.0.9"], ""),
            (
                &[(DOMAIN_NAME, &["a.example b.example"]), ("ntp-servers", &["10.0.0.1"])],
                &[own],
                "a.example b.example",
            ),
        ];
        for (given, servers, search) in cases {
            let (found, domains) = told(given);
            assert_eq!((found, domains.as_str()), (owned(servers), search), "{given:?}");
        }
    }
}
