//! DescribeVpcClassicLinkDnsSupport: what older tools ask of every VPC. None has it.

use super::describe::{by_ids, page};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::Vpc;
use wire::ec2::{
    ClassicLinkDnsSupport, DescribeVpcClassicLinkDnsSupportRequest,
    DescribeVpcClassicLinkDnsSupportResult,
};

pub async fn describe_vpc_classic_link_dns_support(
    cx: &Context,
    _caller: &Caller,
    input: DescribeVpcClassicLinkDnsSupportRequest,
) -> Result<DescribeVpcClassicLinkDnsSupportResult, Fault> {
    let snapshot = cx.store.snapshot();
    let all = snapshot.scan::<Vpc>("").map(|(_, vpc)| ClassicLinkDnsSupport {
        classic_link_dns_supported: Some(false),
        vpc_id: Some(vpc.id.to_string()),
    });
    let ids = input.vpc_ids.as_deref();
    let found = by_ids(all.collect(), ids, &Vpc::NOUN, |it: &ClassicLinkDnsSupport| &it.vpc_id)?;
    let token = input.next_token.as_deref();
    let (vpcs, next_token) = page(found, ids, input.max_results, token, |it| &it.vpc_id)?;
    Ok(DescribeVpcClassicLinkDnsSupportResult { next_token, vpcs: Some(vpcs) })
}
