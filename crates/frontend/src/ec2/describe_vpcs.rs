//! DescribeVpcs: each with all its ranges.

use super::derived;
use super::describe::{by_ids, dry_run, page};
use super::filter::{Column, each, select, shown, text};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network;
use wire::ec2::{
    DescribeVpcsRequest, DescribeVpcsResult, Vpc, VpcCidrBlockAssociation, VpcCidrBlockState,
};

const COLUMNS: &[Column<Vpc>] = &[
    ("cidr", |vpc| text(&vpc.cidr_block)),
    ("cidr-block", |vpc| text(&vpc.cidr_block)),
    ("cidrBlock", |vpc| text(&vpc.cidr_block)),
    ("cidr-block-association.association-id", |vpc| {
        each(&vpc.cidr_block_association_set, |it| it.association_id.clone())
    }),
    ("cidr-block-association.cidr-block", |vpc| {
        each(&vpc.cidr_block_association_set, |it| it.cidr_block.clone())
    }),
    ("cidr-block-association.state", |vpc| {
        each(&vpc.cidr_block_association_set, |it| {
            it.cidr_block_state.as_ref()?.state.as_ref().map(ToString::to_string)
        })
    }),
    ("dhcp-options-id", |vpc| text(&vpc.dhcp_options_id)),
    ("is-default", |vpc| shown(&vpc.is_default)),
    ("isDefault", |vpc| shown(&vpc.is_default)),
    ("ipv6-cidr-block-association.association-id", |_| Vec::new()),
    ("ipv6-cidr-block-association.ipv6-cidr-block", |_| Vec::new()),
    ("ipv6-cidr-block-association.ipv6-pool", |_| Vec::new()),
    ("ipv6-cidr-block-association.state", |_| Vec::new()),
    ("owner-id", |vpc| text(&vpc.owner_id)),
    ("state", |vpc| shown(&vpc.state)),
    ("vpc-id", |vpc| text(&vpc.vpc_id)),
];

pub async fn describe_vpcs(
    cx: &Context,
    _caller: &Caller,
    input: DescribeVpcsRequest,
) -> Result<DescribeVpcsResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let all = snapshot.scan::<network::Vpc>("").map(|(_, vpc)| show(cx, &vpc)).collect();
    let ids = input.vpc_ids.as_deref();
    let found = by_ids(all, ids, &network::Vpc::NOUN, |vpc| &vpc.vpc_id)?;
    let found = select(found, input.filters.as_deref(), COLUMNS, Some(|vpc| &vpc.tags))?;
    let token = input.next_token.as_deref();
    let (vpcs, next_token) = page(found, ids, input.max_results, token, |vpc| &vpc.vpc_id)?;
    Ok(DescribeVpcsResult { vpcs: Some(vpcs), next_token })
}

pub fn show(cx: &Context, vpc: &network::Vpc) -> Vpc {
    // The first range's association lasts as long as the VPC.
    let first = show_association(derived::id("vpc-cidr-assoc-", &vpc.id), &vpc.cidr);
    let more = vpc.secondary_cidrs.iter();
    let more = more.map(|it| show_association(it.id.to_string(), &it.cidr));
    let options = vpc.dhcp_options.as_ref().map_or("default", |id| id.as_str());
    Vpc {
        cidr_block: Some(vpc.cidr.to_string()),
        cidr_block_association_set: Some(std::iter::once(first).chain(more).collect()),
        dhcp_options_id: Some(options.to_owned()),
        instance_tenancy: Some(vpc.instance_tenancy.as_str().into()),
        is_default: Some(vpc.is_default),
        owner_id: Some(cx.locality.account.to_string()),
        state: Some("available".into()),
        tags: derived::tags(&vpc.tags),
        vpc_id: Some(vpc.id.to_string()),
        ..Vpc::default()
    }
}

pub fn show_association(id: String, cidr: &network::Cidr) -> VpcCidrBlockAssociation {
    VpcCidrBlockAssociation {
        association_id: Some(id),
        cidr_block: Some(cidr.to_string()),
        cidr_block_state: Some(VpcCidrBlockState {
            state: Some("associated".into()),
            status_message: None,
        }),
    }
}
