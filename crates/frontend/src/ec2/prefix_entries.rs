//! Entries of prefix lists as calls give them.

use super::change::{canonical, canonical_v6, invalid};
use super::permissions::check_description;
use crate::fault::Fault;
use model::network::PrefixListEntry;
use wire::ec2::AddPrefixListEntry;

pub const IPV4: &str = "IPv4";
pub const IPV6: &str = "IPv6";

/// A range of the list's family in its canonical form.
pub fn range(text: &str, family: &str) -> Result<String, Fault> {
    let range = match family {
        IPV4 => canonical(text).map(|cidr| cidr.to_string()),
        _ => canonical_v6(text),
    };
    range.ok_or_else(|| invalid(format!("The CIDR '{text}' is not a valid {family} CIDR.")))
}

/// Adds entries; one that is there already gets the new description.
pub fn add(
    entries: &mut Vec<PrefixListEntry>,
    more: &[AddPrefixListEntry],
    family: &str,
) -> Result<(), Fault> {
    for one in more {
        let cidr = range(one.cidr.as_deref().unwrap_or_default(), family)?;
        check_description(one.description.as_deref())?;
        let description = one.description.clone().filter(|text| !text.is_empty());
        match entries.iter_mut().find(|entry| entry.cidr == cidr) {
            Some(known) => known.description = description,
            None => entries.push(PrefixListEntry { cidr, description }),
        }
    }
    Ok(())
}

pub fn check_count(entries: usize, max_entries: u32) -> Result<(), Fault> {
    if entries <= max_entries as usize {
        return Ok(());
    }
    let text = "The number of entries exceeds the maximum number of entries of the prefix list.";
    Err(Fault::client("PrefixListMaxEntriesExceeded", text))
}
