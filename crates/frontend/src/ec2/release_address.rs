//! ReleaseAddress: refused while it stands for an interface.

use super::allocate_address::check_border_group;
use super::associate_address::by_public_ip;
use super::describe::dry_run;
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{Address, PublicPool};
use store::kinds::PUBLIC_POOL_KEY;
use wire::NoOutput;
use wire::ec2::ReleaseAddressRequest;

pub async fn release_address(
    cx: &Context,
    _caller: &Caller,
    input: ReleaseAddressRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    check_border_group(cx, input.network_border_group.as_deref())?;
    cx.transact(|txn| {
        let address = match (&input.allocation_id, &input.public_ip) {
            (Some(id), _) => find::<Address>(txn, Some(id))?,
            (None, Some(ip)) => by_public_ip(txn, ip)?,
            (None, None) => {
                let text = "You must specify an allocation id when releasing a VPC elastic IP";
                return Err(Fault::client("MissingParameter", text));
            }
        };
        if address.association.is_some() {
            let text = format!("Address {} is in use.", address.public_ip);
            return Err(Fault::client("InvalidIPAddress.InUse", text));
        }
        if let Some(pool) = txn.get::<PublicPool>(PUBLIC_POOL_KEY) {
            let mut pool = (*pool).clone();
            pool.give_back(address.public_ip);
            txn.put(pool);
        }
        txn.delete::<Address>(address.allocation.as_str());
        Ok(NoOutput)
    })
    .await
}
