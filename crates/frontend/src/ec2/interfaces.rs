//! Network interfaces that this crate makes: users' own, NAT gateways', endpoints', load
//! balancers'. Placement makes those of tasks. An interface and its addresses are taken and given
//! back in the transaction that makes or removes what it is for.

use super::nouns::find;
use crate::fault::Fault;
use model::network::{
    Address, AddressPool, InterfaceAttachment, InterfaceKind, NetworkInterface, PublicAddress,
    PublicPool, Subnet,
};
use model::{InterfaceId, Timestamp};
use std::net::Ipv4Addr;
use store::Txn;
use store::kinds::PUBLIC_POOL_KEY;

/// Puts an interface with this address of the subnet, or its next free one.
pub fn take_interface(
    txn: &mut Txn,
    subnet: &Subnet,
    wanted: Option<Ipv4Addr>,
    random: u128,
    now: Timestamp,
) -> Result<NetworkInterface, Fault> {
    let ip = take_address(txn, subnet, wanted)?;
    let id = InterfaceId::mint(random);
    let mac = NetworkInterface::mac(ip, random);
    let interface = NetworkInterface::new(id, subnet, ip, mac, now);
    txn.put(interface.clone());
    Ok(interface)
}

/// Takes one address of the subnet.
pub fn take_address(
    txn: &mut Txn,
    subnet: &Subnet,
    wanted: Option<Ipv4Addr>,
) -> Result<Ipv4Addr, Fault> {
    let pool = txn.get::<AddressPool>(subnet.id.as_str());
    let mut pool = pool.map_or_else(|| AddressPool::new(subnet.id.clone()), |it| (*it).clone());
    let ip = match wanted {
        None => pool.take(&subnet.cidr).ok_or_else(|| {
            let text = format!(
                "The specified subnet '{}' does not have enough free addresses to satisfy the \
                 request.",
                subnet.id
            );
            Fault::client("InsufficientFreeAddressesInSubnet", text)
        })?,
        Some(ip) if !subnet.cidr.contains(ip) => {
            let text = "Address does not fall within the subnet's address range";
            return Err(Fault::client("InvalidParameterValue", text));
        }
        Some(ip) => {
            if !pool.take_this(&subnet.cidr, ip) {
                let text = "The specified address is already in use.";
                return Err(Fault::client("InvalidIPAddress.InUse", text));
            }
            ip
        }
    };
    txn.put(pool);
    Ok(ip)
}

/// For what we make for users: attached to it from the start.
pub fn attach(
    interface: &mut NetworkInterface,
    kind: InterfaceKind,
    owner: &str,
    random: u128,
    now: Timestamp,
) {
    interface.kind = kind;
    interface.requester = Some(owner.to_owned());
    let id = InterfaceId::mint(random).as_str().replacen("eni-", "ela-attach-", 1);
    interface.attachment = Some(InterfaceAttachment { id, owner: owner.to_owned(), at: now });
}

/// Removes the interface: its private addresses are free, and its elastic address, if it has one,
/// stands for nothing again.
pub fn remove_interface(txn: &mut Txn, id: &InterfaceId) {
    let Some(interface) = txn.get::<NetworkInterface>(id.as_str()) else { return };
    if let Some(subnet) = txn.get::<Subnet>(interface.subnet.as_str())
        && let Some(pool) = txn.get::<AddressPool>(interface.subnet.as_str())
    {
        let mut pool = (*pool).clone();
        for ip in interface.private_ips() {
            pool.give_back(&subnet.cidr, ip);
        }
        txn.put(pool);
    }
    if let Some(public) = &interface.public {
        release_public(txn, public);
    }
    txn.delete::<NetworkInterface>(id.as_str());
}

/// The interface's public address leaves it: an elastic one is the user's still, another is free.
pub fn release_public(txn: &mut Txn, public: &PublicAddress) {
    match &public.allocation {
        Some(allocation) => {
            if let Some(address) = txn.get::<Address>(allocation.as_str()) {
                txn.put(Address { association: None, ..(*address).clone() });
            }
        }
        None => {
            if let Some(pool) = txn.get::<PublicPool>(PUBLIC_POOL_KEY) {
                let mut pool = (*pool).clone();
                pool.give_back(public.ip);
                txn.put(pool);
            }
        }
    }
}

/// The interface a call names, if users may change it: those of tasks, load balancers and gateways
/// belong to them.
pub fn users_interface(
    txn: &mut Txn,
    id: Option<&str>,
) -> Result<std::sync::Arc<NetworkInterface>, Fault> {
    let interface = find::<NetworkInterface>(txn, id)?;
    if interface.task.is_some() || interface.requester.is_some() {
        let text = "You do not have permission to access the specified resource.";
        return Err(Fault::client("AuthFailure", text));
    }
    Ok(interface)
}

pub fn busy(id: &InterfaceId) -> Fault {
    let text = format!("Network interface '{id}' is currently in use.");
    Fault::client("InvalidParameterValue", text)
}

/// One more public address of the pool.
pub fn take_public(txn: &mut Txn, wanted: Option<Ipv4Addr>) -> Result<Ipv4Addr, Fault> {
    let pool = txn.get::<PublicPool>(PUBLIC_POOL_KEY);
    let pool = pool.map(|pool| (*pool).clone());
    let mut pool = pool.unwrap_or_else(|| PublicPool::new(PublicPool::RANGE_DEFAULT));
    let ip = match wanted {
        None => pool.take().ok_or_else(|| {
            let text = "There are not enough free public addresses to satisfy the request.";
            Fault::client("InsufficientAddressCapacity", text)
        })?,
        Some(ip) if pool.take_this(ip) => ip,
        Some(ip) => {
            let text = format!("Address '{ip}' not available.");
            return Err(Fault::client("InvalidAddress.NotFound", text));
        }
    };
    txn.put(pool);
    Ok(ip)
}
