//! Namespaces: of HTTP (found by DiscoverInstances only), of private DNS (one VPC's resolver
//! answers for it) and of public DNS (kept, as there is no public zone of ours).

use super::{id, invalid, operations, page, shown, tags};
use crate::context::{Caller, Context};
use crate::cursor::Cursor;
use crate::fault::Fault;
use model::discovery::{Namespace, NamespaceKind, NamespacePlace};
use model::network::Vpc;
use model::{NamespaceId, VpcId};
use std::sync::Arc;
use store::Txn;
use wire::servicediscovery as sd;
use wire::servicediscovery::ErrorCode;

/// Seconds. Source: API reference, SOA.
const SOA_TTL_DEFAULT: i64 = 15;

struct Wanted {
    name: String,
    kind: NamespaceKind,
    vpc: Option<VpcId>,
    description: Option<String>,
    soa_ttl_seconds: Option<i64>,
    creator_request_id: Option<String>,
    tags: Option<Vec<sd::Tag>>,
}

pub async fn create_http(
    cx: &Context,
    _caller: &Caller,
    input: sd::CreateHttpNamespaceRequest,
) -> Result<sd::CreateHttpNamespaceResponse, Fault> {
    let wanted = Wanted {
        name: input.name.unwrap_or_default(),
        kind: NamespaceKind::Http,
        vpc: None,
        description: input.description,
        soa_ttl_seconds: None,
        creator_request_id: input.creator_request_id,
        tags: input.tags,
    };
    let operation_id = Some(create(cx, wanted).await?);
    Ok(sd::CreateHttpNamespaceResponse { operation_id })
}

pub async fn create_private(
    cx: &Context,
    _caller: &Caller,
    input: sd::CreatePrivateDnsNamespaceRequest,
) -> Result<sd::CreatePrivateDnsNamespaceResponse, Fault> {
    let soa = input.properties.and_then(|it| it.dns_properties).and_then(|it| it.soa);
    let wanted = Wanted {
        name: input.name.unwrap_or_default(),
        kind: NamespaceKind::DnsPrivate,
        vpc: Some(VpcId::from(input.vpc.unwrap_or_default())),
        description: input.description,
        soa_ttl_seconds: soa.and_then(|soa| soa.ttl),
        creator_request_id: input.creator_request_id,
        tags: input.tags,
    };
    let operation_id = Some(create(cx, wanted).await?);
    Ok(sd::CreatePrivateDnsNamespaceResponse { operation_id })
}

pub async fn create_public(
    cx: &Context,
    _caller: &Caller,
    input: sd::CreatePublicDnsNamespaceRequest,
) -> Result<sd::CreatePublicDnsNamespaceResponse, Fault> {
    let soa = input.properties.and_then(|it| it.dns_properties).and_then(|it| it.soa);
    let wanted = Wanted {
        name: input.name.unwrap_or_default(),
        kind: NamespaceKind::DnsPublic,
        vpc: None,
        description: input.description,
        soa_ttl_seconds: soa.and_then(|soa| soa.ttl),
        creator_request_id: input.creator_request_id,
        tags: input.tags,
    };
    let operation_id = Some(create(cx, wanted).await?);
    Ok(sd::CreatePublicDnsNamespaceResponse { operation_id })
}

async fn create(cx: &Context, wanted: Wanted) -> Result<String, Fault> {
    check_name(&wanted)?;
    let made = Namespace {
        id: NamespaceId::mint(cx.random()),
        hosted_zone: (wanted.kind != NamespaceKind::Http)
            .then(|| crate::auth::unique_id("Z0", cx.random())),
        name: wanted.name,
        kind: wanted.kind,
        vpc: wanted.vpc,
        description: wanted.description,
        soa_ttl_seconds: wanted.soa_ttl_seconds.unwrap_or(SOA_TTL_DEFAULT),
        creator_request_id: wanted.creator_request_id,
        created_at: cx.now(),
        tags: tags::RULES.read(wanted.tags)?,
    };
    let operation = operations::mint(cx);
    cx.transact(|txn| {
        if let Some(vpc) = &made.vpc
            && txn.get::<Vpc>(vpc.as_str()).is_none()
        {
            return Err(invalid(format!("VPC not found: {vpc}")));
        }
        let known = at_place(txn, &made.place());
        // The same call once more: it was done.
        let again = known.as_ref().filter(|known| {
            known.kind == made.kind
                && known.creator_request_id.is_some()
                && known.creator_request_id == made.creator_request_id
        });
        let id = match (again, known.as_ref()) {
            (Some(known), _) => known.id.to_string(),
            (None, Some(known)) => return Err(exists(known.as_ref())),
            (None, None) => {
                let namespace = made.id.clone();
                txn.put(NamespacePlace { place: made.place(), namespace });
                txn.put(made.clone());
                made.id.to_string()
            }
        };
        Ok(operations::note(txn, "CREATE_NAMESPACE", ("NAMESPACE", &id), &operation, cx.now()))
    })
    .await
}

/// Source: API reference, the patterns of NamespaceName, NamespaceNamePrivate and -Public.
fn check_name(wanted: &Wanted) -> Result<(), Fault> {
    let name = wanted.name.as_str();
    let plain = name.chars().all(|c| c.is_ascii_graphic());
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(inner)
    };
    let host = name.trim_end_matches('.').split('.').all(label);
    let valid = match wanted.kind {
        NamespaceKind::Http => plain,
        NamespaceKind::DnsPrivate => plain && host,
        NamespaceKind::DnsPublic => plain && host && name.trim_end_matches('.').contains('.'),
    };
    match valid && !name.is_empty() && name.len() <= 1024 {
        true => Ok(()),
        false => Err(invalid(format!("Invalid namespace name: {name}"))),
    }
}

/// The namespace that has the place another wants.
fn at_place(txn: &mut Txn, place: &str) -> Option<Arc<Namespace>> {
    let taken = txn.get::<NamespacePlace>(place)?;
    txn.get::<Namespace>(taken.namespace.as_str())
}

fn exists(known: &Namespace) -> Fault {
    let fault = ErrorCode::NamespaceAlreadyExists
        .fault(format!("Namespace already exists: {}", known.name))
        .with("NamespaceId", known.id.to_string());
    match &known.creator_request_id {
        Some(request) => fault.with("CreatorRequestId", request.as_str()),
        None => fault,
    }
}

pub async fn get(
    cx: &Context,
    _caller: &Caller,
    input: sd::GetNamespaceRequest,
) -> Result<sd::GetNamespaceResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let found = shown::find_namespace(&snapshot, &id(input.id))?;
    Ok(sd::GetNamespaceResponse { namespace: Some(shown::namespace(cx, &snapshot, &found)) })
}

pub async fn list(
    cx: &Context,
    _caller: &Caller,
    input: sd::ListNamespacesRequest,
) -> Result<sd::ListNamespacesResponse, Fault> {
    let filters = input.filters.unwrap_or_default();
    let asked: Vec<String> = filters.iter().map(|filter| format!("{filter:?}")).collect();
    let mut request = vec!["ListNamespaces"];
    request.extend(asked.iter().map(String::as_str));
    let snapshot = cx.store.snapshot();
    let mut found = Vec::new();
    for (key, namespace) in snapshot.scan::<Namespace>("") {
        let mut wanted = true;
        for filter in &filters {
            wanted &= matches(filter, &namespace)?;
        }
        if wanted {
            found.push((key.to_owned(), shown::namespace_summary(cx, &snapshot, &namespace)));
        }
    }
    let token = input.next_token.as_deref();
    let cursor = Cursor::new(&request);
    let (namespaces, next_token) = page(&cursor, found.into_iter(), token, input.max_results)?;
    Ok(sd::ListNamespacesResponse { namespaces: Some(namespaces), next_token })
}

fn matches(filter: &sd::NamespaceFilter, namespace: &Namespace) -> Result<bool, Fault> {
    let values = filter.values.as_deref().unwrap_or_default();
    let begins = filter.condition == Some(sd::FilterCondition::BeginsWith);
    let any = |value: &str| match begins {
        true => values.iter().any(|it| value.starts_with(it.as_str())),
        false => values.iter().any(|it| it == value),
    };
    let name = filter.name.as_ref().map(sd::NamespaceFilterName::as_str).unwrap_or_default();
    Ok(match name {
        "TYPE" => any(namespace.kind.as_str()),
        "NAME" | "HTTP_NAME" => any(&namespace.name),
        // All that is here is this account's own.
        "RESOURCE_OWNER" => any("SELF"),
        other => return Err(invalid(format!("Invalid filter: {other}"))),
    })
}

pub async fn update_http(
    cx: &Context,
    _caller: &Caller,
    input: sd::UpdateHttpNamespaceRequest,
) -> Result<sd::UpdateHttpNamespaceResponse, Fault> {
    let description = input.namespace.and_then(|change| change.description);
    let operation_id = Some(update(cx, &id(input.id), description, None).await?);
    Ok(sd::UpdateHttpNamespaceResponse { operation_id })
}

pub async fn update_private(
    cx: &Context,
    _caller: &Caller,
    input: sd::UpdatePrivateDnsNamespaceRequest,
) -> Result<sd::UpdatePrivateDnsNamespaceResponse, Fault> {
    let change = input.namespace.unwrap_or_default();
    let soa = change.properties.and_then(|it| it.dns_properties).and_then(|it| it.soa);
    let ttl = soa.and_then(|soa| soa.ttl);
    let operation_id = Some(update(cx, &id(input.id), change.description, ttl).await?);
    Ok(sd::UpdatePrivateDnsNamespaceResponse { operation_id })
}

async fn update(
    cx: &Context,
    id: &str,
    description: Option<String>,
    ttl: Option<i64>,
) -> Result<String, Fault> {
    let operation = operations::mint(cx);
    cx.transact(|txn| {
        let found = txn.get::<Namespace>(id).ok_or_else(|| shown::no_namespace(id))?;
        let mut changed = (*found).clone();
        changed.description = description.clone().or(changed.description);
        changed.soa_ttl_seconds = ttl.unwrap_or(changed.soa_ttl_seconds);
        txn.put(changed);
        Ok(operations::note(txn, "UPDATE_NAMESPACE", ("NAMESPACE", id), &operation, cx.now()))
    })
    .await
}

pub async fn delete(
    cx: &Context,
    _caller: &Caller,
    input: sd::DeleteNamespaceRequest,
) -> Result<sd::DeleteNamespaceResponse, Fault> {
    let (id, operation) = (id(input.id), operations::mint(cx));
    let operation_id = cx
        .transact(|txn| {
            let found = txn.get::<Namespace>(&id).ok_or_else(|| shown::no_namespace(&id))?;
            // CreateService writes its namespace, so one that comes in between is noticed.
            if shown::services_of(txn.snapshot(), &found) > 0 {
                let text = format!("Namespace {id} has associated services");
                return Err(ErrorCode::ResourceInUse.fault(text));
            }
            txn.delete::<NamespacePlace>(&found.place());
            txn.delete::<Namespace>(&id);
            Ok(operations::note(txn, "DELETE_NAMESPACE", ("NAMESPACE", &id), &operation, cx.now()))
        })
        .await?;
    Ok(sd::DeleteNamespaceResponse { operation_id: Some(operation_id) })
}
