//! ModifyVpcAttribute: DNS and address metrics, one attribute a call. Resolvers on all instances
//! follow `EnableDnsSupport` within a moment (`plan::names`), for tasks that run, too.

use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::Vpc;
use wire::NoOutput;
use wire::ec2::{AttributeBooleanValue, ModifyVpcAttributeRequest};

pub async fn modify_vpc_attribute(
    cx: &Context,
    _caller: &Caller,
    input: ModifyVpcAttributeRequest,
) -> Result<NoOutput, Fault> {
    let value = |it: &Option<AttributeBooleanValue>| it.as_ref().and_then(|it| it.value);
    let (support, hostnames) =
        (value(&input.enable_dns_support), value(&input.enable_dns_hostnames));
    let metrics = value(&input.enable_network_address_usage_metrics);
    let given = [support, hostnames, metrics].into_iter().flatten().count();
    if given > 1 {
        let text = "Fields for multiple attribute types specified";
        return Err(Fault::client("InvalidParameterCombination", text));
    }
    if given == 0 {
        let text = "The request must contain exactly one attribute to modify";
        return Err(Fault::client("MissingParameter", text));
    }
    cx.transact(|txn| {
        let mut vpc = (*find::<Vpc>(txn, input.vpc_id.as_deref())?).clone();
        // Source: API reference. The words are ours.
        if hostnames == Some(true) && !vpc.dns_support {
            let text = "DNS hostnames can be enabled only while DNS support is enabled";
            return Err(Fault::client("InvalidParameterCombination", text));
        }
        vpc.dns_support = support.unwrap_or(vpc.dns_support);
        vpc.dns_hostnames = hostnames.unwrap_or(vpc.dns_hostnames);
        vpc.address_usage_metrics = metrics.unwrap_or(vpc.address_usage_metrics);
        txn.put(vpc);
        Ok(NoOutput)
    })
    .await
}
