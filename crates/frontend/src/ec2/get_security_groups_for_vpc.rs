//! GetSecurityGroupsForVpc: the groups that interfaces of a VPC may have.

use super::derived;
use super::describe::{dry_run, malformed, missing, page};
use super::filter::{Column, select, text};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{SecurityGroup, Vpc};
use wire::ec2::{
    GetSecurityGroupsForVpcRequest, GetSecurityGroupsForVpcResult, SecurityGroupForVpc,
};

const COLUMNS: &[Column<SecurityGroupForVpc>] = &[
    ("description", |it| text(&it.description)),
    ("group-id", |it| text(&it.group_id)),
    ("group-name", |it| text(&it.group_name)),
    ("owner-id", |it| text(&it.owner_id)),
    ("primary-vpc-id", |it| text(&it.primary_vpc_id)),
];

pub async fn get_security_groups_for_vpc(
    cx: &Context,
    _caller: &Caller,
    input: GetSecurityGroupsForVpcRequest,
) -> Result<GetSecurityGroupsForVpcResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let id = input.vpc_id.unwrap_or_default();
    if !id.starts_with(Vpc::NOUN.prefix) {
        return Err(malformed(&Vpc::NOUN, &id));
    }
    let vpc = snapshot.get::<Vpc>(&id).ok_or_else(|| missing(&Vpc::NOUN, &id))?;
    let all = snapshot.scan::<SecurityGroup>("").filter(|(_, group)| group.vpc == vpc.id);
    let all = all.map(|(_, group)| SecurityGroupForVpc {
        description: Some(group.description.clone()),
        group_id: Some(group.id.to_string()),
        group_name: Some(group.name.clone()),
        owner_id: Some(cx.locality.account.to_string()),
        primary_vpc_id: Some(group.vpc.to_string()),
        tags: derived::tags(&group.tags),
    });
    let found = select(all.collect(), input.filters.as_deref(), COLUMNS, Some(|it| &it.tags))?;
    let token = input.next_token.as_deref();
    let (groups, next_token) = page(found, None, input.max_results, token, |it| &it.group_id)?;
    Ok(GetSecurityGroupsForVpcResult { next_token, security_group_for_vpcs: Some(groups) })
}
