//! AllocateAddress: a public address of one's own.

use super::change::{invalid, refuse};
use super::describe::dry_run;
use super::interfaces::take_public;
use super::tagged;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::ADDRESSES_MAX;
use model::AllocationId;
use model::network::Address;
use wire::ec2::{AllocateAddressRequest, AllocateAddressResult, DomainType};

pub async fn allocate_address(
    cx: &Context,
    _caller: &Caller,
    input: AllocateAddressRequest,
) -> Result<AllocateAddressResult, Fault> {
    dry_run(input.dry_run)?;
    refuse(&[
        ("customerOwnedIpv4Pool", input.customer_owned_ipv4_pool.is_some()),
        ("ipamPoolId", input.ipam_pool_id.is_some()),
        ("publicIpv4Pool", input.public_ipv4_pool.as_deref().is_some_and(|pool| pool != POOL)),
    ])?;
    if input.domain.as_ref().is_some_and(|domain| *domain != DomainType::Vpc) {
        return Err(refused_domain());
    }
    check_border_group(cx, input.network_border_group.as_deref())?;
    let wanted = match input.address.as_deref() {
        None => None,
        Some(text) => {
            let bad = || invalid(format!("Value ({text}) for parameter address is invalid."));
            Some(text.parse().map_err(|_| bad())?)
        }
    };
    let tags = tagged::given(input.tag_specifications, "elastic-ip")?;
    let address = cx.transact(|txn| {
        if txn.snapshot().count::<Address>("") >= ADDRESSES_MAX {
            let text = "The maximum number of addresses has been reached.";
            return Err(Fault::client("AddressLimitExceeded", text));
        }
        let address = Address {
            allocation: AllocationId::mint(cx.random()),
            public_ip: take_public(txn, wanted)?,
            association: None,
            created_at: cx.now(),
            tags: tags.clone(),
        };
        txn.put(address.clone());
        Ok(address)
    });
    let address = address.await?;
    Ok(AllocateAddressResult {
        allocation_id: Some(address.allocation.to_string()),
        domain: Some(DomainType::Vpc),
        network_border_group: Some(cx.locality.region.to_string()),
        public_ip: Some(address.public_ip.to_string()),
        public_ipv4_pool: Some(POOL.to_owned()),
        ..Default::default()
    })
}

/// EC2's name for its own pool.
pub const POOL: &str = "amazon";

fn refused_domain() -> Fault {
    let text = "Addresses are for VPCs: there is no EC2-Classic";
    Fault::client("UnsupportedOperation", text)
}

/// There is one border group, called after the region.
pub fn check_border_group(cx: &Context, given: Option<&str>) -> Result<(), Fault> {
    match given.is_none_or(|group| group == cx.locality.region.as_str()) {
        true => Ok(()),
        false => Err(invalid(format!(
            "The network border group '{}' does not exist",
            given.unwrap_or_default()
        ))),
    }
}
