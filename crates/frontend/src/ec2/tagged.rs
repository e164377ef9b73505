//! Tags: what can carry them, how a call gives them, what is allowed.

use super::change::invalid;
use crate::fault::Fault;
use crate::limits::{TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX};
use model::Tags;
use model::limits::TAGS_PER_RESOURCE_MAX;
use model::network::{
    Address, DhcpOptions, InternetGateway, ManagedPrefixList, NatGateway, NetworkAcl,
    NetworkInterface, RouteTable, SecurityGroup, Subnet, Vpc, VpcEndpoint,
};
use store::{Record, Snapshot, Txn};
use wire::ec2::{Tag, TagSpecification};

/// A record that carries tags, under the type that EC2 gives it.
pub trait Tagged: Record + Clone {
    const TYPE: &'static str;
    fn tags_mut(&mut self) -> &mut Tags;
}

macro_rules! tagged {
    ($($record:ty: $name:literal;)*) => {
        $(impl Tagged for $record {
            const TYPE: &'static str = $name;
            fn tags_mut(&mut self) -> &mut Tags {
                &mut self.tags
            }
        })*

        /// Every tagged resource: its id, its type, its tags.
        pub fn all(snapshot: &Snapshot) -> Vec<(String, &'static str, Tags)> {
            let mut all = Vec::new();
            $(for (id, record) in snapshot.scan::<$record>("") {
                if !record.tags.is_empty() {
                    all.push((id.to_owned(), <$record>::TYPE, record.tags.clone()));
                }
            })*
            for (_, group) in snapshot.scan::<SecurityGroup>("") {
                for rule in group.rules.iter().filter(|rule| !rule.tags.is_empty()) {
                    all.push((rule.id.clone(), RULE_TYPE, rule.tags.clone()));
                }
            }
            all
        }

        /// Changes the tags of the resource with this id; false when there is none.
        pub fn change(
            txn: &mut Txn,
            id: &str,
            change: &dyn Fn(&mut Tags) -> Result<(), Fault>,
        ) -> Result<bool, Fault> {
            $(if let Some(record) = txn.get::<$record>(id) {
                let mut record = (*record).clone();
                change(record.tags_mut())?;
                txn.put(record);
                return Ok(true);
            })*
            change_rule(txn, id, change)
        }
    };
}

tagged! {
    Address: "elastic-ip";
    DhcpOptions: "dhcp-options";
    InternetGateway: "internet-gateway";
    ManagedPrefixList: "prefix-list";
    NatGateway: "natgateway";
    NetworkAcl: "network-acl";
    NetworkInterface: "network-interface";
    RouteTable: "route-table";
    SecurityGroup: "security-group";
    Subnet: "subnet";
    Vpc: "vpc";
    VpcEndpoint: "vpc-endpoint";
}

/// Rules live in their groups.
pub const RULE_TYPE: &str = "security-group-rule";

fn change_rule(
    txn: &mut Txn,
    id: &str,
    change: &dyn Fn(&mut Tags) -> Result<(), Fault>,
) -> Result<bool, Fault> {
    let snapshot = txn.snapshot().clone();
    let mut groups = snapshot.scan::<SecurityGroup>("").map(|(_, group)| group);
    let Some(group) = groups.find(|group| group.rules.iter().any(|rule| rule.id == id)) else {
        return Ok(false);
    };
    let Some(group) = txn.get::<SecurityGroup>(group.id.as_str()) else { return Ok(false) };
    let mut group = (*group).clone();
    let Some(rule) = group.rules.iter_mut().find(|rule| rule.id == id) else { return Ok(false) };
    change(&mut rule.tags)?;
    txn.put(group);
    Ok(true)
}

/// The tags a call gives to what it makes; each specification must be of that type.
pub fn given(specifications: Option<Vec<TagSpecification>>, kind: &str) -> Result<Tags, Fault> {
    let mut tags = Tags::new();
    for specification in specifications.unwrap_or_default() {
        let of = specification.resource_type.map(|of| of.to_string()).unwrap_or_default();
        if of != kind {
            let text = format!("'{of}' is not a valid taggable resource type for this operation.");
            return Err(invalid(text));
        }
        add(&mut tags, specification.tags.unwrap_or_default())?;
    }
    check_count(&tags)?;
    Ok(tags)
}

/// Adds tags, checked; a key that is there already gets the new value.
pub fn add(tags: &mut Tags, more: Vec<Tag>) -> Result<(), Fault> {
    for tag in more {
        let key = tag.key.unwrap_or_default();
        let value = tag.value.unwrap_or_default();
        if key.is_empty() || key.chars().count() > TAG_KEY_CHARS_MAX {
            let text = "Tag key must have a length between 1 and 128 characters.";
            return Err(Fault::client("InvalidParameterValue", text));
        }
        if value.chars().count() > TAG_VALUE_CHARS_MAX {
            return Err(invalid("Tag value exceeds the maximum length of 256 characters"));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            let text =
                format!("Tag keys starting with 'aws:' are reserved for internal use: {key}");
            return Err(invalid(text));
        }
        tags.insert(key, value);
    }
    Ok(())
}

pub fn check_count(tags: &Tags) -> Result<(), Fault> {
    if tags.len() <= TAGS_PER_RESOURCE_MAX {
        return Ok(());
    }
    let text = format!("More than {TAGS_PER_RESOURCE_MAX} tags specified");
    Err(Fault::client("TagLimitExceeded", text))
}
