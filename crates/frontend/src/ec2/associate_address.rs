//! AssociateAddress: the address stands for an interface's private address outside.

use super::change::{invalid, missing_parameter, within};
use super::describe::dry_run;
use super::interfaces::{release_public, users_interface};
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::AddressAssociationId;
use model::network::{
    Address, AddressAssociation, InternetGateway, NetworkInterface, PublicAddress,
};
use std::sync::Arc;
use store::{Snapshot, Txn};
use wire::ec2::{AssociateAddressRequest, AssociateAddressResult};

pub async fn associate_address(
    cx: &Context,
    _caller: &Caller,
    input: AssociateAddressRequest,
) -> Result<AssociateAddressResult, Fault> {
    dry_run(input.dry_run)?;
    if let Some(id) = &input.instance_id {
        let text = format!("The instance ID '{id}' does not exist");
        return Err(Fault::client("InvalidInstanceID.NotFound", text));
    }
    let interface = input.network_interface_id.as_deref();
    let interface = interface.ok_or_else(|| missing_parameter("networkInterfaceId"))?;
    let id = cx.transact(|txn| {
        let address = match (&input.allocation_id, &input.public_ip) {
            (Some(id), None) => find::<Address>(txn, Some(id))?,
            (None, Some(ip)) => by_public_ip(txn, ip)?,
            (None, None) => return Err(missing_parameter("allocationId")),
            (Some(_), Some(_)) => {
                let text = "You may specify public IP or allocation id, but not both in the same \
                            call";
                return Err(Fault::client("InvalidParameterCombination", text));
            }
        };
        let interface = (*users_interface(txn, Some(interface))?).clone();
        within(txn, &interface.vpc)?;
        check_gateway(txn.snapshot(), &interface)?;
        let ip = interface.private_ip;
        if input.private_ip_address.as_ref().is_some_and(|given| *given != ip.to_string()) {
            let text = "Only the primary private address of an interface can have a public one";
            return Err(invalid(text));
        }
        associate(txn, &address, interface, input.allow_reassociation, cx.random())
    });
    Ok(AssociateAddressResult { association_id: Some(id.await?.to_string()) })
}

/// Public addresses are of use only where there is a way out. Source: error Gateway.NotAttached.
pub fn check_gateway(snapshot: &Snapshot, interface: &NetworkInterface) -> Result<(), Fault> {
    let mut gateways = snapshot.scan::<InternetGateway>("");
    match gateways.any(|(_, gateway)| gateway.vpc.as_ref() == Some(&interface.vpc)) {
        true => Ok(()),
        false => {
            let text = format!("Network {} is not attached to any internet gateway", interface.vpc);
            Err(Fault::client("Gateway.NotAttached", text))
        }
    }
}

/// Ties the two, in place of what either was tied to; without `again`, an address that is in use
/// stays where it is. For an address of EC2's VPCs again is the default. Source: API reference.
fn associate(
    txn: &mut Txn,
    address: &Address,
    interface: NetworkInterface,
    again: Option<bool>,
    random: u128,
) -> Result<AddressAssociationId, Fault> {
    if let Some(known) = &address.association {
        if known.interface == interface.id {
            return Ok(known.id.clone());
        }
        if again == Some(false) {
            return Err(already(address, known));
        }
        let other = txn.get::<NetworkInterface>(known.interface.as_str());
        if let Some(other) = other {
            if other.requester.is_some() {
                return Err(already(address, known));
            }
            txn.put(NetworkInterface { public: None, ..(*other).clone() });
        }
    }
    if let Some(public) = &interface.public {
        release_public(txn, public);
    }
    Ok(tie(txn, address, interface, random))
}

pub fn already(address: &Address, known: &AddressAssociation) -> Fault {
    let text = format!(
        "resource {} is already associated with associate-id {}",
        address.allocation, known.id
    );
    Fault::client("Resource.AlreadyAssociated", text)
}

/// Writes the tie on both sides.
pub fn tie(
    txn: &mut Txn,
    address: &Address,
    interface: NetworkInterface,
    random: u128,
) -> AddressAssociationId {
    let id = AddressAssociationId::mint(random);
    let association = AddressAssociation {
        id: id.clone(),
        interface: interface.id.clone(),
        private_ip: interface.private_ip,
    };
    txn.put(Address { association: Some(association), ..address.clone() });
    let public = PublicAddress {
        ip: address.public_ip,
        allocation: Some(address.allocation.clone()),
        association: Some(id.clone()),
    };
    txn.put(NetworkInterface { public: Some(public), ..interface });
    id
}

pub fn by_public_ip(txn: &mut Txn, ip: &str) -> Result<Arc<Address>, Fault> {
    let snapshot = txn.snapshot().clone();
    let mut all = snapshot.scan::<Address>("").map(|(_, address)| address);
    let unknown = || Fault::client("InvalidAddress.NotFound", format!("Address '{ip}' not found."));
    let found = all.find(|address| address.public_ip.to_string() == ip).ok_or_else(unknown)?;
    txn.get::<Address>(found.allocation.as_str()).ok_or_else(unknown)
}
