//! When images were last pulled, to within a day, as ECR tells it. Both ways of pulling note it
//! here: the registry's protocol and ECR's own calls.

use model::image::{ImagePull, Manifest};
use model::{Digest, RepositoryName, Timestamp};

use crate::kinds::manifest_key;
use crate::store::{Store, TransactFailure};
use crate::txn::CommitFailure;

/// How old the time of the last pull may be, in seconds. Source: ECR API reference, ImageDetail
/// (lastRecordedPullTime): refreshed at least once every 24 hours.
const NOTED_SECONDS: i64 = 24 * 3600;
/// Images noted in one transaction, each with a record read and one written.
const NOTED_AT_ONCE_MAX: usize = 50;

/// Notes that these images were pulled, unless that was noted within the day.
pub async fn note(
    store: &Store,
    repository: &RepositoryName,
    pulled: &[Digest],
    now: Timestamp,
) -> Result<(), TransactFailure<CommitFailure>> {
    let snapshot = store.snapshot();
    let is_new = |digest: &&Digest| {
        let noted = snapshot.get::<ImagePull>(&manifest_key(repository, digest));
        noted.is_none_or(|noted| now >= noted.pulled_at.plus_seconds(NOTED_SECONDS))
    };
    let pulled: Vec<&Digest> = pulled.iter().filter(is_new).collect();
    for group in pulled.chunks(NOTED_AT_ONCE_MAX) {
        let noted = store.transact(|txn| {
            for digest in group {
                // An image that has gone meanwhile leaves no note behind.
                if txn.get::<Manifest>(&manifest_key(repository, digest)).is_some() {
                    let (repository, digest) = (repository.clone(), (*digest).clone());
                    txn.put(ImagePull { repository, digest, pulled_at: now });
                }
            }
            Ok(())
        });
        noted.await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pull_is_noted_once_a_day_and_only_of_what_is_there() {
        let store = Store::in_memory(crate::kinds::all());
        let (name, digest) = (RepositoryName::from("web"), Digest::from("sha256:00"));
        let noted = |store: &Store| {
            let key = manifest_key(&RepositoryName::from("web"), &Digest::from("sha256:00"));
            store.snapshot().get::<ImagePull>(&key).map(|noted| noted.pulled_at)
        };
        let some = [digest.clone()];
        note(&store, &name, &some, Timestamp(1)).await.unwrap();
        assert_eq!(noted(&store), None);
        let mut txn = store.begin();
        txn.put(Manifest {
            repository: name.clone(),
            digest,
            media_type: String::new(),
            artifact_type: None,
            subject: None,
            references: Vec::new(),
            manifest_bytes: 0,
            image_bytes: 0,
            pushed_at: Timestamp(0),
        });
        txn.commit().await.unwrap();
        let first = Timestamp(1000);
        for (now, then) in [
            (first, first),
            (first.plus_seconds(NOTED_SECONDS - 1), first),
            (first.plus_seconds(NOTED_SECONDS), first.plus_seconds(NOTED_SECONDS)),
        ] {
            note(&store, &name, &some, now).await.unwrap();
            assert_eq!(noted(&store), Some(then));
        }
    }
}
