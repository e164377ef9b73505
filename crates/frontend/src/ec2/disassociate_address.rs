//! DisassociateAddress: the address is the user's still, and stands for nothing.

use super::associate_address::by_public_ip;
use super::change::missing_parameter;
use super::describe::dry_run;
use super::interfaces::users_interface;
use super::nouns::{find, no_association};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{Address, NetworkInterface};
use wire::NoOutput;
use wire::ec2::DisassociateAddressRequest;

pub async fn disassociate_address(
    cx: &Context,
    _caller: &Caller,
    input: DisassociateAddressRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    cx.transact(|txn| {
        let address = match (&input.association_id, &input.public_ip) {
            (None, None) => return Err(missing_parameter("associationId")),
            (None, Some(ip)) => by_public_ip(txn, ip)?,
            (Some(id), _) => {
                let snapshot = txn.snapshot().clone();
                let mut all = snapshot.scan::<Address>("").map(|(_, address)| address);
                let with = |address: &Address| {
                    address.association.as_ref().is_some_and(|it| it.id.as_str() == id)
                };
                let found = all.find(|address| with(address)).ok_or_else(|| no_association(id))?;
                find::<Address>(txn, Some(found.allocation.as_str()))?
            }
        };
        let Some(association) = &address.association else {
            return Err(no_association(input.association_id.as_deref().unwrap_or_default()));
        };
        // A NAT gateway keeps its address as long as it is there.
        let interface = users_interface(txn, Some(association.interface.as_str()))?;
        txn.put(NetworkInterface { public: None, ..(*interface).clone() });
        txn.put(Address { association: None, ..(*address).clone() });
        Ok(NoOutput)
    })
    .await
}
