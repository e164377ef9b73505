//! CreateDhcpOptions: each option once, with as many values as DHCP has room for.

use super::change::{invalid, missing_parameter};
use super::describe::dry_run;
use super::describe_dhcp_options::show;
use super::tagged;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::DHCP_OPTIONS_MAX;
use model::DhcpOptionsId;
use model::network::{AMAZON_DNS, DOMAIN_NAME, DOMAIN_NAME_SERVERS, DhcpOptions};
use std::net::IpAddr;
use wire::ec2::{CreateDhcpOptionsRequest, CreateDhcpOptionsResult};

/// The options there are, and how many values each may have. Source: API reference.
const KEYS: [(&str, usize); 6] = [
    (DOMAIN_NAME, 1),
    (DOMAIN_NAME_SERVERS, 4),
    ("ipv6-address-preferred-lease-time", 1),
    ("netbios-name-servers", 4),
    ("netbios-node-type", 1),
    ("ntp-servers", 8),
];

/// Names and addresses of servers become lines of a file in tasks.
fn check(key: &str, values: &[String]) -> Result<(), Fault> {
    let is_good = |value: &&String| match key {
        DOMAIN_NAME_SERVERS => {
            value.eq_ignore_ascii_case(AMAZON_DNS) || value.parse::<IpAddr>().is_ok()
        }
        DOMAIN_NAME => {
            !value.trim().is_empty() && value.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
        }
        "ntp-servers" | "netbios-name-servers" => value.parse::<IpAddr>().is_ok(),
        _ => true,
    };
    match values.iter().find(|value| !is_good(value)) {
        Some(bad) => Err(invalid(format!("Value ({bad}) for parameter {key} is invalid."))),
        None => Ok(()),
    }
}

pub async fn create_dhcp_options(
    cx: &Context,
    _caller: &Caller,
    input: CreateDhcpOptionsRequest,
) -> Result<CreateDhcpOptionsResult, Fault> {
    dry_run(input.dry_run)?;
    let given = input.dhcp_configurations.unwrap_or_default();
    if given.is_empty() {
        return Err(missing_parameter("dhcpConfiguration"));
    }
    let mut configurations: Vec<(String, Vec<String>)> = Vec::new();
    for one in given {
        let (key, values) = (one.key.unwrap_or_default(), one.values.unwrap_or_default());
        let Some((_, most)) = KEYS.iter().find(|(known, _)| *known == key) else {
            return Err(invalid(format!(
                "Value ({key}) for parameter name is invalid. Unknown DHCP option"
            )));
        };
        // A list in one value is a list.
        let split = values.iter().flat_map(|value| value.split(','));
        let values: Vec<String> = match key.as_str() {
            DOMAIN_NAME => values.clone(),
            _ => split.map(|value| value.trim().to_owned()).collect(),
        };
        let twice = configurations.iter().any(|(known, _)| *known == key);
        if values.is_empty() || values.len() > *most || twice {
            let text = format!("The DHCP option {key} must be given once, with 1 to {most} values");
            return Err(invalid(text));
        }
        check(&key, &values)?;
        configurations.push((key, values));
    }
    configurations.sort();
    let tags = tagged::given(input.tag_specifications, "dhcp-options")?;
    let options = cx.transact(|txn| {
        if txn.snapshot().count::<DhcpOptions>("") >= DHCP_OPTIONS_MAX {
            let text = "The maximum number of DHCP option sets has been reached.";
            return Err(Fault::client("DhcpOptionsLimitExceeded", text));
        }
        let options = DhcpOptions {
            id: DhcpOptionsId::mint(cx.random()),
            configurations: configurations.clone(),
            created_at: cx.now(),
            tags: tags.clone(),
        };
        txn.put(options.clone());
        Ok(options)
    });
    Ok(CreateDhcpOptionsResult { dhcp_options: Some(show(cx, &options.await?)) })
}
