//! DescribeAddressesAttribute: names that the addresses would have in reverse DNS, of which none
//! can be set.

use super::describe::{by_ids, dry_run, page};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::Address;
use wire::ec2::{
    AddressAttribute, DescribeAddressesAttributeRequest, DescribeAddressesAttributeResult,
};

pub async fn describe_addresses_attribute(
    cx: &Context,
    _caller: &Caller,
    input: DescribeAddressesAttributeRequest,
) -> Result<DescribeAddressesAttributeResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let all = snapshot.scan::<Address>("").map(|(_, address)| AddressAttribute {
        allocation_id: Some(address.allocation.to_string()),
        public_ip: Some(address.public_ip.to_string()),
        ..AddressAttribute::default()
    });
    let ids = input.allocation_ids.as_deref();
    let found = by_ids(all.collect(), ids, &Address::NOUN, |it| &it.allocation_id)?;
    let token = input.next_token.as_deref();
    let (addresses, next_token) =
        page(found, None, input.max_results, token, |it| &it.allocation_id)?;
    Ok(DescribeAddressesAttributeResult { addresses: Some(addresses), next_token })
}
