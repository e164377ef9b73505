//! Settings of the registry as a whole: scanning and replication are kept and shown, and there is
//! neither a scanner nor another registry that would obey them (the gap file says so).

use super::repositories::invalid;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::document::Document;
use model::image::RegistryDocument;
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::Snapshot;
use wire::ecr::{
    GetRegistryScanningConfigurationRequest, GetRegistryScanningConfigurationResponse,
    PutRegistryScanningConfigurationRequest, PutRegistryScanningConfigurationResponse,
    PutReplicationConfigurationRequest, PutReplicationConfigurationResponse,
    RegistryScanningConfiguration, RegistryScanningRule, ReplicationConfiguration, ScanType,
};

pub const POLICY: &str = "policy";
pub const REPLICATION: &str = "replication";
const SCANNING_RULES: &str = "scanning-rules";
const SCANNING_TYPE: &str = "scanning-type";

/// Rules of one scanning configuration. Source: API reference, PutRegistryScanningConfiguration.
const SCANNING_RULES_MAX: usize = 2;
/// Rules of one replication configuration. Source: API reference, ReplicationConfiguration.
const REPLICATION_RULES_MAX: usize = 10;

/// A setting as it was given, if it was.
pub fn kept<T: DeserializeOwned>(snapshot: &Snapshot, name: &str) -> Option<T> {
    let found = snapshot.get::<RegistryDocument>(name)?;
    serde_json::from_str(found.document.as_str()).ok()
}

pub async fn keep<T: Serialize + ?Sized>(cx: &Context, name: &str, value: &T) -> Result<(), Fault> {
    let record = record(name, value);
    cx.transact(|txn| {
        txn.put(record.clone());
        Ok(())
    })
    .await
}

fn record<T: Serialize + ?Sized>(name: &str, value: &T) -> RegistryDocument {
    let json = serde_json::to_string(value).expect("wire types have string keys only");
    RegistryDocument { name: name.to_owned(), document: Document::new(json) }
}

pub async fn put_replication_configuration(
    cx: &Context,
    _caller: &Caller,
    input: PutReplicationConfigurationRequest,
) -> Result<PutReplicationConfigurationResponse, Fault> {
    let mut configuration = input.replication_configuration.unwrap_or_default();
    let rules = configuration.rules.get_or_insert_default();
    if rules.len() > REPLICATION_RULES_MAX {
        let most = format!("Member must have length less than or equal to {REPLICATION_RULES_MAX}");
        return Err(invalid("replicationConfiguration.rules", &most));
    }
    keep(cx, REPLICATION, &configuration).await?;
    Ok(PutReplicationConfigurationResponse { replication_configuration: Some(configuration) })
}

/// What DescribeRegistry shows.
pub fn replication(snapshot: &Snapshot) -> ReplicationConfiguration {
    let none = ReplicationConfiguration { rules: Some(Vec::new()) };
    kept(snapshot, REPLICATION).unwrap_or(none)
}

fn scanning(snapshot: &Snapshot) -> RegistryScanningConfiguration {
    let scan_type = kept::<ScanType>(snapshot, SCANNING_TYPE).unwrap_or(ScanType::Basic);
    let rules: Vec<RegistryScanningRule> = kept(snapshot, SCANNING_RULES).unwrap_or_default();
    RegistryScanningConfiguration { rules: Some(rules), scan_type: Some(scan_type) }
}

pub async fn get_registry_scanning_configuration(
    cx: &Context,
    _caller: &Caller,
    _input: GetRegistryScanningConfigurationRequest,
) -> Result<GetRegistryScanningConfigurationResponse, Fault> {
    Ok(GetRegistryScanningConfigurationResponse {
        registry_id: Some(cx.locality.account.to_string()),
        scanning_configuration: Some(scanning(&cx.store.snapshot())),
    })
}

pub async fn put_registry_scanning_configuration(
    cx: &Context,
    _caller: &Caller,
    input: PutRegistryScanningConfigurationRequest,
) -> Result<PutRegistryScanningConfigurationResponse, Fault> {
    let before = scanning(&cx.store.snapshot());
    let scan_type = input.scan_type.or(before.scan_type).unwrap_or(ScanType::Basic);
    let rules = input.rules.unwrap_or_default();
    if rules.len() > SCANNING_RULES_MAX {
        let most = format!("Member must have length less than or equal to {SCANNING_RULES_MAX}");
        return Err(invalid("rules", &most));
    }
    let records = [record(SCANNING_TYPE, &scan_type), record(SCANNING_RULES, &rules)];
    cx.transact(|txn| {
        records.iter().cloned().for_each(|record| txn.put(record));
        Ok(())
    })
    .await?;
    Ok(PutRegistryScanningConfigurationResponse {
        registry_scanning_configuration: Some(RegistryScanningConfiguration {
            rules: Some(rules),
            scan_type: Some(scan_type),
        }),
    })
}
