//! DescribeVpcAttribute: one attribute of one VPC.

use super::describe::{dry_run, malformed, missing};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::Vpc;
use wire::ec2::{
    AttributeBooleanValue, DescribeVpcAttributeRequest, DescribeVpcAttributeResult,
    VpcAttributeName,
};

pub async fn describe_vpc_attribute(
    cx: &Context,
    _caller: &Caller,
    input: DescribeVpcAttributeRequest,
) -> Result<DescribeVpcAttributeResult, Fault> {
    dry_run(input.dry_run)?;
    let id = input.vpc_id.unwrap_or_default();
    let snapshot = cx.store.snapshot();
    if !id.starts_with(Vpc::NOUN.prefix) {
        return Err(malformed(&Vpc::NOUN, &id));
    }
    let vpc = snapshot.get::<Vpc>(&id).ok_or_else(|| missing(&Vpc::NOUN, &id))?;
    let mut result = DescribeVpcAttributeResult { vpc_id: Some(id), ..Default::default() };
    let is = |value| Some(AttributeBooleanValue { value: Some(value) });
    match input.attribute {
        Some(VpcAttributeName::EnableDnsSupport) => result.enable_dns_support = is(vpc.dns_support),
        Some(VpcAttributeName::EnableDnsHostnames) => {
            result.enable_dns_hostnames = is(vpc.dns_hostnames);
        }
        Some(VpcAttributeName::EnableNetworkAddressUsageMetrics) => {
            result.enable_network_address_usage_metrics = is(vpc.address_usage_metrics);
        }
        Some(VpcAttributeName::Unrecognized(_)) | None => {
            let text = "The request must contain the parameter attribute";
            return Err(Fault::client("MissingParameter", text));
        }
    }
    Ok(result)
}
