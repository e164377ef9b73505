//! DeleteRepository. The repository goes first, which stops every push to it; then what was in it,
//! in portions, since a transaction is bounded. Content that nothing links to is garbage.

use super::repositories::{named, not_found, show};
use crate::context::{Caller, Context};
use crate::fault::{self, Fault};
use model::RepositoryName;
use model::image::{
    BlobLink, ImagePull, ImageTag, LifecycleEvaluation, LifecyclePolicy, LifecyclePreview,
    Manifest, Repository, RepositoryPolicy,
};
use store::kinds::repository_prefix;
use store::{Record, Txn};
use wire::ecr::{DeleteRepositoryRequest, DeleteRepositoryResponse, ErrorCode};

/// Records that one transaction removes.
const PORTION_RECORDS: usize = 100;

pub async fn delete_repository(
    cx: &Context,
    caller: &Caller,
    input: DeleteRepositoryRequest,
) -> Result<DeleteRepositoryResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let force = input.force.unwrap_or(false);
    let prefix = repository_prefix(&name);
    let deleted = cx.store.transact(|txn| {
        let found = txn.get::<Repository>(name.as_str());
        let found = found.ok_or_else(|| not_found(cx, name.as_str()))?;
        if !force && txn.snapshot().scan::<Manifest>(&prefix).next().is_some() {
            let account = &cx.locality.account;
            return Err(ErrorCode::RepositoryNotEmptyException.fault(format!(
                "The repository with name '{name}' in registry with id '{account}' cannot be \
                 deleted because it still contains images"
            )));
        }
        txn.delete::<Repository>(name.as_str());
        delete_if_there::<LifecyclePolicy>(txn, name.as_str());
        delete_if_there::<LifecycleEvaluation>(txn, name.as_str());
        delete_if_there::<LifecyclePreview>(txn, name.as_str());
        delete_if_there::<RepositoryPolicy>(txn, name.as_str());
        Ok(found)
    });
    let (repository, _) = deleted.await.map_err(fault::transact)?;
    sweep(cx, &name).await?;
    Ok(DeleteRepositoryResponse { repository: Some(show(cx, caller, &repository)) })
}

/// Removes what is left of a repository that is no more. Stops when it is made anew: whoever makes
/// it sweeps first.
pub async fn sweep(cx: &Context, name: &RepositoryName) -> Result<(), Fault> {
    let prefix = repository_prefix(name);
    loop {
        let swept = cx.store.transact(|txn| {
            if txn.get::<Repository>(name.as_str()).is_some() {
                return Ok(0);
            }
            let mut room = PORTION_RECORDS;
            delete_some::<ImageTag>(txn, &prefix, &mut room);
            delete_some::<Manifest>(txn, &prefix, &mut room);
            delete_some::<ImagePull>(txn, &prefix, &mut room);
            delete_some::<BlobLink>(txn, &prefix, &mut room);
            Ok(PORTION_RECORDS - room)
        });
        let (count, _) = swept.await.map_err(fault::transact)?;
        if count < PORTION_RECORDS {
            return Ok(());
        }
    }
}

fn delete_if_there<T: Record>(txn: &mut Txn, key: &str) {
    if txn.get::<T>(key).is_some() {
        txn.delete::<T>(key);
    }
}

fn delete_some<T: Record>(txn: &mut Txn, prefix: &str, room: &mut usize) {
    let snapshot = txn.snapshot().clone();
    for (key, _) in snapshot.scan::<T>(prefix).take(*room) {
        txn.delete::<T>(key);
        *room -= 1;
    }
}
