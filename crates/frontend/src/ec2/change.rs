//! What all changing calls share. A change inside a VPC writes the VPC's own record too, as it was:
//! so two changes of one VPC never pass each other, and what a call has seen of the VPC's other
//! records (that nothing uses the subnet, say) still holds when it commits.

use super::make_vpc::Source;
use super::nouns::find;
use crate::context::Context;
use crate::fault::Fault;
use crate::limits::{CLIENT_TOKEN_CHARS_MAX, CLIENT_TOKEN_SECONDS};
use model::account::ClientToken;
use model::network::{Cidr, SecurityGroup, Subnet, Vpc};
use model::{SecurityGroupId, Timestamp, VpcId};
use ring::digest::{SHA256, digest};
use std::net::Ipv4Addr;
use std::sync::Arc;
use store::kinds::client_token_key;
use store::{Snapshot, Txn};

pub fn source(cx: &Context) -> Source<'_> {
    Source { now: cx.now(), random: &*cx.random }
}

/// The VPC that something inside of is about to change.
pub fn within(txn: &mut Txn, id: &VpcId) -> Result<Arc<Vpc>, Fault> {
    let vpc = find::<Vpc>(txn, Some(id.as_str()))?;
    txn.put_arc(Arc::clone(&vpc));
    Ok(vpc)
}

pub fn subnets_of(snapshot: &Snapshot, vpc: &VpcId) -> Vec<Arc<Subnet>> {
    let all = snapshot.scan::<Subnet>("").map(|(_, subnet)| subnet);
    all.filter(|subnet| subnet.vpc == *vpc).collect()
}

/// The groups a call names, all of this VPC; without any, the VPC's default group.
pub fn groups_in(
    txn: &mut Txn,
    vpc: &VpcId,
    ids: Option<&[String]>,
) -> Result<Vec<SecurityGroupId>, Fault> {
    let ids = ids.unwrap_or_default();
    let mut groups = Vec::new();
    for id in ids {
        let group = find::<SecurityGroup>(txn, Some(id))?;
        if group.vpc != *vpc {
            let text = "You have specified two resources that belong to different networks.";
            return Err(Fault::client("InvalidGroup.NotFound", text));
        }
        groups.push(group.id.clone());
    }
    if ids.is_empty() {
        let snapshot = txn.snapshot();
        let mut all = snapshot.scan::<SecurityGroup>("").map(|(_, group)| group);
        let default = all.find(|group| group.vpc == *vpc && group.is_default());
        groups.extend(default.map(|group| group.id.clone()));
    }
    Ok(groups)
}

/// Refuses parameters that ask for what there is not. Taking them in silence would be worse.
pub fn refuse(parameters: &[(&str, bool)]) -> Result<(), Fault> {
    match parameters.iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((name, _)) => {
            let text = format!("The parameter {name} is not supported by Neargate");
            Err(Fault::client("UnsupportedOperation", text))
        }
    }
}

pub fn invalid(text: impl Into<String>) -> Fault {
    Fault::client("InvalidParameterValue", text)
}

pub fn invalid_value(value: &str, parameter: &str, why: &str) -> Fault {
    invalid(format!("Value ({value}) for parameter {parameter} is invalid. {why}"))
}

pub fn missing_parameter(name: &str) -> Fault {
    let text = format!("The request must contain the parameter {name}");
    Fault::client("MissingParameter", text)
}

pub fn in_use(text: impl Into<String>) -> Fault {
    Fault::client("DependencyViolation", text)
}

/// An IPv4 range as EC2 takes it: bits behind the prefix are cut off. Source: API reference,
/// CreateVpc ("we modify the specified CIDR block to its canonical form").
pub fn canonical(text: &str) -> Option<Cidr> {
    let (address, prefix) = text.split_once('/')?;
    let address: Ipv4Addr = address.parse().ok()?;
    let prefix = prefix.parse::<u8>().ok().filter(|prefix| *prefix <= 32)?;
    let mask = Cidr { address, prefix }.mask();
    Some(Cidr { address: Ipv4Addr::from(u32::from(address) & mask), prefix })
}

pub fn range_given(text: &str, parameter: &str) -> Result<Cidr, Fault> {
    let why = "This is not a valid CIDR block.";
    canonical(text).ok_or_else(|| invalid_value(text, parameter, why))
}

/// An IPv6 range in its canonical form.
pub fn canonical_v6(text: &str) -> Option<String> {
    let (address, prefix) = text.split_once('/')?;
    let address: std::net::Ipv6Addr = address.parse().ok()?;
    let prefix = prefix.parse::<u32>().ok().filter(|prefix| *prefix <= 128)?;
    let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
    Some(format!("{}/{prefix}", std::net::Ipv6Addr::from(u128::from(address) & mask)))
}

/// A client token: the call that brings it again is answered with what was made the first time.
pub struct Once {
    scope: String,
    token: String,
    fingerprint: String,
}

impl Once {
    /// None without a token. `asked` is the whole request.
    pub fn of(
        operation: &str,
        token: Option<&str>,
        asked: &impl std::fmt::Debug,
    ) -> Result<Option<Self>, Fault> {
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
        if token.len() > CLIENT_TOKEN_CHARS_MAX || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(invalid_value(token, "clientToken", "It is too long or no plain text."));
        }
        let hash = digest(&SHA256, format!("{asked:?}").as_bytes());
        let fingerprint = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let scope = format!("ec2:{operation}");
        Ok(Some(Self { scope, token: token.to_owned(), fingerprint }))
    }

    /// The id of what was made with this token before.
    pub fn made(&self, txn: &mut Txn, now: Timestamp) -> Result<Option<String>, Fault> {
        let key = client_token_key(&self.scope, &self.token);
        let known = txn.get::<ClientToken>(&key).filter(|known| known.expires_at > now);
        let Some(known) = known else { return Ok(None) };
        if known.fingerprint != self.fingerprint {
            let text = "Arguments on this idempotent request are inconsistent with arguments used \
                        in previous request(s).";
            return Err(Fault::client("IdempotentParameterMismatch", text));
        }
        Ok(known.resources.first().cloned())
    }

    pub fn remember(&self, txn: &mut Txn, id: &str, now: Timestamp) {
        txn.put(ClientToken {
            scope: self.scope.clone(),
            token: self.token.clone(),
            fingerprint: self.fingerprint.clone(),
            resources: vec![id.to_owned()],
            expires_at: now.plus_seconds(CLIENT_TOKEN_SECONDS),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_their_prefix() {
        let shown = |text: &str| canonical(text).map(|cidr| cidr.to_string());
        assert_eq!(shown("100.68.0.18/18").as_deref(), Some("100.68.0.0/18"));
        assert_eq!(shown("1.2.3.4/0").as_deref(), Some("0.0.0.0/0"));
        for bad in ["", "1.2.3.4", "1.2.3.4/33", "1.2.3/8", "a/8", "::/0"] {
            assert_eq!(shown(bad), None, "{bad}");
        }
        assert_eq!(canonical_v6("2001:DB8::1/32").as_deref(), Some("2001:db8::/32"));
        assert_eq!(canonical_v6("::/0").as_deref(), Some("::/0"));
        assert_eq!(canonical_v6("::/129"), None);
    }
}
