//! DescribeVpcAttribute: one attribute of one VPC.

use super::describe::{by_ids, dry_run};
use super::describe_vpcs::NOUN;
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
    let known = snapshot.get::<Vpc>(&id).map(|vpc| Some(vpc.id.to_string()));
    let wanted = std::slice::from_ref(&id);
    by_ids(known.into_iter().collect(), Some(wanted), &NOUN, |id: &Option<String>| id)?;
    let mut result = DescribeVpcAttributeResult { vpc_id: Some(id), ..Default::default() };
    let is = |value| Some(AttributeBooleanValue { value: Some(value) });
    // A default VPC has DNS names and resolution (VPC user guide, "DNS attributes"); whoever can
    // make other VPCs will have to store what they chose.
    match input.attribute {
        Some(VpcAttributeName::EnableDnsSupport) => result.enable_dns_support = is(true),
        Some(VpcAttributeName::EnableDnsHostnames) => result.enable_dns_hostnames = is(true),
        Some(VpcAttributeName::EnableNetworkAddressUsageMetrics) => {
            result.enable_network_address_usage_metrics = is(false);
        }
        Some(VpcAttributeName::Unrecognized(_)) | None => {
            let text = "The request must contain the parameter attribute";
            return Err(Fault::client("MissingParameter", text));
        }
    }
    Ok(result)
}
