//! DescribeAccountAttributes: what older tools ask to find the default VPC.

use super::describe::dry_run;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::SECURITY_GROUPS_PER_TASK_MAX;
use model::network::Vpc;
use wire::ec2::{
    AccountAttribute, AccountAttributeName, AccountAttributeValue,
    DescribeAccountAttributesRequest, DescribeAccountAttributesResult,
};

pub async fn describe_account_attributes(
    cx: &Context,
    _caller: &Caller,
    input: DescribeAccountAttributesRequest,
) -> Result<DescribeAccountAttributesResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let default = snapshot.scan::<Vpc>("").map(|(_, vpc)| vpc).find(|vpc| vpc.is_default);
    let default = default.map_or("none".to_owned(), |vpc| vpc.id.to_string());
    let groups = SECURITY_GROUPS_PER_TASK_MAX.to_string();
    // There are no elastic addresses and no instances to launch yet, so none may be had.
    let mut attributes = vec![
        attribute("supported-platforms", "VPC"),
        attribute("default-vpc", &default),
        attribute("vpc-max-security-groups-per-interface", &groups),
        attribute("max-instances", "0"),
        attribute("max-elastic-ips", "0"),
        attribute("vpc-max-elastic-ips", "0"),
    ];
    if let Some(names) = input.attribute_names.filter(|names| !names.is_empty()) {
        let wanted = |it: &AccountAttribute| {
            let name = it.attribute_name.as_deref().unwrap_or_default();
            names.contains(&AccountAttributeName::from(name))
        };
        attributes.retain(wanted);
    }
    Ok(DescribeAccountAttributesResult { account_attributes: Some(attributes) })
}

fn attribute(name: &str, value: &str) -> AccountAttribute {
    AccountAttribute {
        attribute_name: Some(name.to_owned()),
        attribute_values: Some(vec![AccountAttributeValue {
            attribute_value: Some(value.to_owned()),
        }]),
    }
}
