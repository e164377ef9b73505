//! CreateNetworkAcl: an ACL that lets nothing through until it is told otherwise.

use super::change::{Once, within};
use super::describe::dry_run;
use super::describe_network_acls::show;
use super::nouns::find;
use super::tagged;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::NETWORK_ACLS_PER_VPC_MAX;
use model::NetworkAclId;
use model::network::{NetworkAcl, Vpc};
use wire::ec2::{CreateNetworkAclRequest, CreateNetworkAclResult};

pub async fn create_network_acl(
    cx: &Context,
    _caller: &Caller,
    input: CreateNetworkAclRequest,
) -> Result<CreateNetworkAclResult, Fault> {
    dry_run(input.dry_run)?;
    let token = input.client_token.clone();
    let once = Once::of("CreateNetworkAcl", token.as_deref(), &input)?;
    let tags = tagged::given(input.tag_specifications, "network-acl")?;
    let now = cx.now();
    let acl = cx.transact(|txn| {
        if let Some(once) = &once
            && let Some(id) = once.made(txn, now)?
        {
            return find::<NetworkAcl>(txn, Some(&id)).map(|acl| (*acl).clone());
        }
        let vpc = find::<Vpc>(txn, input.vpc_id.as_deref())?;
        let vpc = within(txn, &vpc.id)?;
        let acls = txn.snapshot().scan::<NetworkAcl>("");
        if acls.filter(|(_, acl)| acl.vpc == vpc.id).count() >= NETWORK_ACLS_PER_VPC_MAX {
            let text = "The maximum number of network ACLs has been reached.";
            return Err(Fault::client("NetworkAclLimitExceeded", text));
        }
        let acl = NetworkAcl {
            id: NetworkAclId::mint(cx.random()),
            vpc: vpc.id.clone(),
            is_default: false,
            entries: Vec::new(),
            associations: Vec::new(),
            created_at: now,
            tags: tags.clone(),
        };
        txn.put(acl.clone());
        if let Some(once) = &once {
            once.remember(txn, acl.id.as_str(), now);
        }
        Ok(acl)
    });
    let shown = show(cx, &acl.await?);
    Ok(CreateNetworkAclResult { client_token: token, network_acl: Some(shown) })
}
