//! How a repository gets a blob and keeps it: the rules that let garbage be collected while pushes
//! go on. An object is stored first and linked then; whoever commits a manifest renews, in the same
//! transaction, the links it needs. So the transaction that takes out a link nobody needs conflicts
//! with every push that has just come to need it, whichever commits first.

use std::sync::Arc;

use model::image::BlobLink;
use model::{Digest, RepositoryName, Timestamp};

use crate::kinds::blob_link_key;
use crate::limits::LINKS_RENEWED_MAX;
use crate::store::{Store, TransactFailure};
use crate::txn::Txn;

/// Blobs that a repository does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub Vec<Digest>);

/// Gives a repository a blob whose object has been stored just now, or renews the link it has.
pub fn link(
    txn: &mut Txn,
    repository: &RepositoryName,
    digest: &Digest,
    bytes: u64,
    now: Timestamp,
) {
    let (repository, digest) = (repository.clone(), digest.clone());
    txn.put(BlobLink { repository, digest, bytes, linked_at: now });
}

/// The links of a manifest's blobs, all of them or none. The first `LINKS_RENEWED_MAX` are guarded
/// and renewed; call `renew_early` before the transaction for the rest.
pub fn renew(
    txn: &mut Txn,
    repository: &RepositoryName,
    digests: &[&Digest],
    now: Timestamp,
) -> Result<Vec<Arc<BlobLink>>, Missing> {
    let mut links = Vec::with_capacity(digests.len());
    let mut missing = Vec::new();
    for (index, digest) in digests.iter().enumerate() {
        let key = blob_link_key(repository, digest);
        let link = match index < LINKS_RENEWED_MAX {
            true => txn.get::<BlobLink>(&key),
            false => txn.peek::<BlobLink>(&key),
        };
        match link {
            Some(link) => links.push(link),
            None => missing.push((*digest).clone()),
        }
    }
    if !missing.is_empty() {
        return Err(Missing(missing));
    }
    for link in links.iter().take(LINKS_RENEWED_MAX) {
        txn.put(BlobLink { linked_at: now, ..(**link).clone() });
    }
    Ok(links)
}

/// Renews the links that `renew` has no room for, of an image with very many layers. They are then
/// young, and garbage collection leaves what is young alone.
pub async fn renew_early(
    store: &Store,
    repository: &RepositoryName,
    digests: &[&Digest],
    now: Timestamp,
) -> Result<(), TransactFailure<Missing>> {
    let rest = digests.get(LINKS_RENEWED_MAX..).unwrap_or_default();
    for some in rest.chunks(LINKS_RENEWED_MAX) {
        store.transact(|txn| renew(txn, repository, some, now).map(|_| ())).await?;
    }
    Ok(())
}
