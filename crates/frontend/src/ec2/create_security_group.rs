//! CreateSecurityGroup: lets nothing in and everything out.

use super::change::{invalid, invalid_value, source, within};
use super::create_default_vpc::default_vpc;
use super::derived;
use super::describe::dry_run;
use super::make_vpc::allow_out;
use super::tagged;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::{GROUP_TEXT_CHARS_MAX, SECURITY_GROUPS_MAX};
use model::network::SecurityGroup;
use model::{SecurityGroupId, VpcId};
use wire::ec2::{CreateSecurityGroupRequest, CreateSecurityGroupResult};

pub async fn create_security_group(
    cx: &Context,
    _caller: &Caller,
    input: CreateSecurityGroupRequest,
) -> Result<CreateSecurityGroupResult, Fault> {
    dry_run(input.dry_run)?;
    let name = input.group_name.unwrap_or_default().trim().to_owned();
    let description = input.description.unwrap_or_default();
    check_name(&name)?;
    check_text(&description, "GroupDescription")?;
    let tags = tagged::given(input.tag_specifications, "security-group")?;
    let group = cx.transact(|txn| {
        let vpc = match &input.vpc_id {
            Some(id) => VpcId::from(id.as_str()),
            None => default_vpc(txn.snapshot()).map(|vpc| vpc.id.clone()).ok_or_else(|| {
                Fault::client("VPCIdNotSpecified", "No default VPC for this user")
            })?,
        };
        let vpc = within(txn, &vpc)?;
        let snapshot = txn.snapshot();
        if snapshot.scan::<SecurityGroup>("").any(|(_, it)| it.vpc == vpc.id && it.name == name) {
            let text = format!("The security group '{name}' already exists for VPC '{}'", vpc.id);
            return Err(Fault::client("InvalidGroup.Duplicate", text));
        }
        if snapshot.count::<SecurityGroup>("") >= SECURITY_GROUPS_MAX {
            let text = "The maximum number of security groups has been reached.";
            return Err(Fault::client("SecurityGroupLimitExceeded", text));
        }
        let group = SecurityGroup {
            id: SecurityGroupId::mint(cx.random()),
            vpc: vpc.id.clone(),
            name: name.clone(),
            description: description.clone(),
            rules: vec![allow_out(&source(cx))],
            created_at: cx.now(),
            tags: tags.clone(),
        };
        txn.put(group.clone());
        Ok(group)
    });
    let group = group.await?;
    let arn = cx.locality.arn("ec2", &format!("security-group/{}", group.id));
    Ok(CreateSecurityGroupResult {
        group_id: Some(group.id.to_string()),
        security_group_arn: Some(arn),
        tags: derived::tags(&group.tags),
    })
}

fn check_name(name: &str) -> Result<(), Fault> {
    if name == SecurityGroup::DEFAULT_NAME {
        return Err(invalid(format!("Cannot use reserved security group name: {name}")));
    }
    if name.starts_with("sg-") {
        let why = "Group names may not be in the format sg-*.";
        return Err(invalid_value(name, "GroupName", why));
    }
    check_text(name, "GroupName")
}

/// Source: API reference, CreateSecurityGroup.
fn check_text(text: &str, parameter: &str) -> Result<(), Fault> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
    let fits = (1..=GROUP_TEXT_CHARS_MAX).contains(&text.chars().count());
    if fits && text.chars().all(allowed) {
        return Ok(());
    }
    let why = "Character sets beyond ASCII are not supported.";
    Err(invalid_value(text, parameter, why))
}
