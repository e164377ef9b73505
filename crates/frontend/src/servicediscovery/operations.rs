//! What Cloud Map's longer calls answer with: an operation whose fate can be asked for. Here all is
//! done when the call is answered, so an operation has succeeded as soon as it is there.

use super::{invalid, page, shown};
use crate::context::{Caller, Context};
use crate::cursor::Cursor;
use crate::fault::Fault;
use model::Timestamp;
use model::discovery::DiscoveryOperation;
use std::collections::BTreeMap;
use store::Txn;
use wire::servicediscovery as sd;
use wire::servicediscovery::ErrorCode;

/// How long operations are told of, in milliseconds, and how many old ones go with each new one.
const KEPT_MS: i64 = 24 * 3600 * 1000;
const SWEPT_AT_ONCE: usize = 8;

/// Notes in the transaction of what was done that it was; gives the operation's id.
pub fn note(txn: &mut Txn, kind: &str, target: (&str, &str), id: &str, now: Timestamp) -> String {
    let old: Vec<String> = txn
        .snapshot()
        .scan::<DiscoveryOperation>("")
        .filter(|(_, operation)| now.since_ms(operation.created_at) > KEPT_MS)
        .map(|(key, _)| key.to_owned())
        .take(SWEPT_AT_ONCE)
        .collect();
    for key in old {
        txn.delete::<DiscoveryOperation>(&key);
    }
    txn.put(DiscoveryOperation {
        id: id.to_owned(),
        kind: kind.to_owned(),
        targets: BTreeMap::from([(target.0.to_owned(), target.1.to_owned())]),
        created_at: now,
    });
    id.to_owned()
}

pub fn mint(cx: &Context) -> String {
    model::mint_operation_id(cx.random())
}

pub async fn get(
    cx: &Context,
    _caller: &Caller,
    input: sd::GetOperationRequest,
) -> Result<sd::GetOperationResponse, Fault> {
    let id = input.operation_id.unwrap_or_default();
    let found = cx.store.snapshot().get::<DiscoveryOperation>(&id);
    let found = found
        .ok_or_else(|| ErrorCode::OperationNotFound.fault(format!("Operation not found: {id}")))?;
    let at = Some(shown::time(found.created_at));
    Ok(sd::GetOperationResponse {
        operation: Some(sd::Operation {
            create_date: at,
            error_code: None,
            error_message: None,
            id: Some(found.id.clone()),
            owner_account: Some(cx.locality.account.to_string()),
            status: Some(sd::OperationStatus::Success),
            targets: Some(found.targets.clone()),
            r#type: Some(found.kind.as_str().into()),
            update_date: at,
        }),
    })
}

pub async fn list(
    cx: &Context,
    _caller: &Caller,
    input: sd::ListOperationsRequest,
) -> Result<sd::ListOperationsResponse, Fault> {
    let filters = input.filters.unwrap_or_default();
    let asked: Vec<String> = filters.iter().map(|filter| format!("{filter:?}")).collect();
    let mut request = vec!["ListOperations"];
    request.extend(asked.iter().map(String::as_str));
    let snapshot = cx.store.snapshot();
    let mut found = Vec::new();
    for (key, operation) in snapshot.scan::<DiscoveryOperation>("") {
        let mut wanted = true;
        for filter in &filters {
            wanted &= matches(filter, &operation)?;
        }
        if wanted {
            let summary = sd::OperationSummary {
                id: Some(operation.id.clone()),
                status: Some(sd::OperationStatus::Success),
            };
            found.push((key.to_owned(), summary));
        }
    }
    let token = input.next_token.as_deref();
    let cursor = Cursor::new(&request);
    let (operations, next_token) = page(&cursor, found.into_iter(), token, input.max_results)?;
    Ok(sd::ListOperationsResponse { next_token, operations: Some(operations) })
}

fn matches(filter: &sd::OperationFilter, operation: &DiscoveryOperation) -> Result<bool, Fault> {
    let values = filter.values.clone().unwrap_or_default();
    let one_of = |value: Option<&str>| value.is_some_and(|it| values.iter().any(|v| v == it));
    let target = |kind: &str| operation.targets.get(kind).map(String::as_str);
    let name = filter.name.as_ref().map(sd::OperationFilterName::as_str).unwrap_or_default();
    Ok(match name {
        "NAMESPACE_ID" => one_of(target("NAMESPACE")),
        "SERVICE_ID" => one_of(target("SERVICE")),
        "STATUS" => one_of(Some("SUCCESS")),
        "TYPE" => one_of(Some(&operation.kind)),
        "UPDATE_DATE" => {
            let bounds: Vec<f64> = values.iter().filter_map(|v| v.parse().ok()).collect();
            let [from, to] = bounds.as_slice() else {
                return Err(invalid("UPDATE_DATE takes two dates in Unix format"));
            };
            let at = operation.created_at.0 as f64 / 1000.0;
            (*from..=*to).contains(&at)
        }
        other => return Err(invalid(format!("Invalid filter: {other}"))),
    })
}
