//! DescribeVpcClassicLink: what older tools ask of every VPC. None has it.

use super::derived;
use super::describe::{by_ids, dry_run};
use super::filter::{Column, select, shown};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::Vpc;
use wire::ec2::{DescribeVpcClassicLinkRequest, DescribeVpcClassicLinkResult, VpcClassicLink};

const COLUMNS: &[Column<VpcClassicLink>] =
    &[("is-classic-link-enabled", |it| shown(&it.classic_link_enabled))];

pub async fn describe_vpc_classic_link(
    cx: &Context,
    _caller: &Caller,
    input: DescribeVpcClassicLinkRequest,
) -> Result<DescribeVpcClassicLinkResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let all = snapshot.scan::<Vpc>("").map(|(_, vpc)| VpcClassicLink {
        classic_link_enabled: Some(false),
        tags: derived::tags(&vpc.tags),
        vpc_id: Some(vpc.id.to_string()),
    });
    let ids = input.vpc_ids.as_deref();
    let found = by_ids(all.collect(), ids, &Vpc::NOUN, |it: &VpcClassicLink| &it.vpc_id)?;
    let vpcs = select(found, input.filters.as_deref(), COLUMNS, Some(|it| &it.tags))?;
    Ok(DescribeVpcClassicLinkResult { vpcs: Some(vpcs) })
}
