//! CreateDefaultVpc: another one after the first was deleted.

use super::change::source;
use super::default_network::default_options;
use super::describe::dry_run;
use super::describe_vpcs::show;
use super::make_vpc::put_default_vpc;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{PublicPool, Vpc};
use store::kinds::PUBLIC_POOL_KEY;
use wire::ec2::{CreateDefaultVpcRequest, CreateDefaultVpcResult};

pub async fn create_default_vpc(
    cx: &Context,
    _caller: &Caller,
    input: CreateDefaultVpcRequest,
) -> Result<CreateDefaultVpcResult, Fault> {
    dry_run(input.dry_run)?;
    let vpc = cx.transact(|txn| {
        if default_vpc(txn.snapshot()).is_some() {
            let text = "A Default VPC already exists for this account in this region.";
            return Err(Fault::client("DefaultVpcAlreadyExists", text));
        }
        // Two calls at once would each find none: both write this record.
        if let Some(pool) = txn.get::<PublicPool>(PUBLIC_POOL_KEY) {
            txn.put_arc(pool);
        }
        let options = default_options(txn.snapshot());
        let id = put_default_vpc(txn, &source(cx), &cx.locality);
        let vpc = txn.peek::<Vpc>(id.as_str()).expect("it was put just now");
        let vpc = Vpc { dhcp_options: options, ..(*vpc).clone() };
        txn.put(vpc.clone());
        Ok(vpc)
    });
    Ok(CreateDefaultVpcResult { vpc: Some(show(cx, &vpc.await?)) })
}

pub fn default_vpc(snapshot: &store::Snapshot) -> Option<std::sync::Arc<Vpc>> {
    snapshot.scan::<Vpc>("").map(|(_, vpc)| vpc).find(|vpc| vpc.is_default)
}
