//! DescribeSecurityGroupReferences: which VPCs on the other side of a peering name a group. There
//! is no peering, so none does.

use super::describe::{dry_run, malformed, missing};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::SecurityGroup;
use wire::ec2::{DescribeSecurityGroupReferencesRequest, DescribeSecurityGroupReferencesResult};

pub async fn describe_security_group_references(
    cx: &Context,
    _caller: &Caller,
    input: DescribeSecurityGroupReferencesRequest,
) -> Result<DescribeSecurityGroupReferencesResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    for id in input.group_id.unwrap_or_default() {
        if !id.starts_with(SecurityGroup::NOUN.prefix) {
            return Err(malformed(&SecurityGroup::NOUN, &id));
        }
        if snapshot.get::<SecurityGroup>(&id).is_none() {
            return Err(missing(&SecurityGroup::NOUN, &id));
        }
    }
    Ok(DescribeSecurityGroupReferencesResult { security_group_reference_set: Some(Vec::new()) })
}
