//! Secrets and parameters as their users find them: by what they call them, opened. Here because
//! both the API and the sessions that start tasks need it, and neither may import the other.

use crate::kinds::{parameter_version_key, parameter_version_prefix, secret_version_key};
use crate::secret::{Sealed, Sealer, Secret as Value, SecretFailure};
use crate::snapshot::Snapshot;
use model::arn::Locality;
use model::balancing::Certificate;
use model::secret::{Parameter, ParameterName, ParameterVersion, Secret, SecretVersion};
use std::sync::Arc;

/// The secret a SecretId means, also when it is waiting to be deleted.
pub fn find_secret(snapshot: &Snapshot, locality: &Locality, id: &str) -> Option<Arc<Secret>> {
    model::secret::secret_names(locality, id).into_iter().find_map(|name| {
        let found = snapshot.get::<Secret>(&name.name)?;
        name.means(&found).then_some(found.value)
    })
}

/// The version a label or an id means; both must mean the same one. None of both: the current one.
pub fn find_secret_version(
    snapshot: &Snapshot,
    secret: &Secret,
    stage: Option<&str>,
    id: Option<&str>,
) -> Option<Arc<SecretVersion>> {
    let staged = |stage: &str| secret.stages.get(stage).map(String::as_str);
    let id = match (stage, id) {
        (None, None) => staged(model::secret::CURRENT)?,
        (Some(stage), None) => staged(stage)?,
        (None, Some(id)) => id,
        (Some(stage), Some(id)) => staged(stage).filter(|at| *at == id)?,
    };
    let found = snapshot.get::<SecretVersion>(&secret_version_key(&secret.name, id));
    found.map(|found| found.value)
}

pub fn open_secret(
    sealer: &Sealer,
    secret: &Secret,
    version: &SecretVersion,
) -> Result<Value, SecretFailure> {
    open(sealer, &secret.seal_context(&version.id), &version.sealed_value)
}

/// A parameter and the version of it that a name means.
pub fn find_parameter(
    snapshot: &Snapshot,
    name: &ParameterName,
) -> Option<(Arc<Parameter>, Option<Arc<ParameterVersion>>)> {
    let parameter = name.names.iter().find_map(|name| snapshot.get::<Parameter>(name))?.value;
    let version = match name.selector.as_deref() {
        None => version_of(snapshot, &parameter, parameter.newest),
        Some(selector) => match selector.parse() {
            Ok(number) => version_of(snapshot, &parameter, number),
            Err(_) => snapshot
                .scan::<ParameterVersion>(&parameter_version_prefix(&parameter.name))
                .map(|(_, version)| version)
                .find(|version| version.labels.contains(selector)),
        },
    };
    Some((parameter, version))
}

fn version_of(
    snapshot: &Snapshot,
    parameter: &Parameter,
    number: u64,
) -> Option<Arc<ParameterVersion>> {
    let found = snapshot.get::<ParameterVersion>(&parameter_version_key(&parameter.name, number));
    found.map(|found| found.value)
}

pub fn open_parameter(
    sealer: &Sealer,
    parameter: &Parameter,
    version: &ParameterVersion,
) -> Result<Value, SecretFailure> {
    let context =
        ParameterVersion::seal_context(&parameter.name, version.number, parameter.created_at);
    open(sealer, &context, &version.sealed_value)
}

/// A certificate's key, PEM.
pub fn open_certificate(
    sealer: &Sealer,
    certificate: &Certificate,
) -> Result<Value, SecretFailure> {
    open(sealer, &certificate.seal_context(), &certificate.sealed_key)
}

fn open(sealer: &Sealer, context: &str, sealed: &str) -> Result<Value, SecretFailure> {
    sealer.unseal(context, &Sealed::from_hex(sealed).ok_or(SecretFailure::Format)?)
}
