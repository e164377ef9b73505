//! PutParameter: a parameter, or a new version of one.

use super::parameters::{VERSIONS_MAX, check_name, invalid, seal, versions};
use super::tags;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::Tags;
use model::secret::{Parameter, ParameterKind, ParameterVersion};
use regex_lite::Regex;
use std::collections::BTreeSet;
use store::Txn;
use store::kinds::parameter_version_key;
use store::secret::Secret as Value;
use wire::ssm::{ErrorCode, ParameterTier, ParameterType, PutParameterRequest, PutParameterResult};

/// Bytes of a value in each tier. Source: user guide, parameter-store-advanced-parameters.
const STANDARD_BYTES_MAX: usize = 4096;
const ADVANCED_BYTES_MAX: usize = 8192;
const DATA_TYPES: [&str; 3] = ["text", "aws:ec2:image", "aws:ssm:integration"];

/// What a call wants, checked as far as it can be without what is there.
struct Wanted {
    name: String,
    kind: Option<ParameterKind>,
    value: Value,
    tags: Tags,
    overwrite: bool,
    /// None: that of the version before.
    tier: Option<&'static str>,
    data_type: Option<String>,
    description: Option<String>,
    allowed_pattern: Option<String>,
    key_id: Option<String>,
    modified_by: String,
}

pub async fn put_parameter(
    cx: &Context,
    caller: &Caller,
    input: PutParameterRequest,
) -> Result<PutParameterResult, Fault> {
    let wanted = read(caller, input)?;
    let (number, tier) = cx.transact(|txn| put(cx, txn, &wanted)).await?;
    Ok(PutParameterResult { tier: Some(tier.as_str().into()), version: i64::try_from(number).ok() })
}

fn read(caller: &Caller, input: PutParameterRequest) -> Result<Wanted, Fault> {
    let name = input.name.unwrap_or_default();
    check_name(&name)?;
    // Terraform sends empty texts for what its user has not said; AWS takes them as not said.
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    let allowed_pattern = said(input.allowed_pattern);
    if input.policies.is_some_and(|policies| !policies.is_empty() && policies != "[]") {
        return Err(ErrorCode::InvalidPolicyTypeException
            .fault("Neargate does not support parameter policies."));
    }
    let value = input.value.map(wire::Sensitive::into_exposed).unwrap_or_default();
    if value.is_empty() {
        return Err(invalid("Parameter value can't be empty."));
    }
    if let Some(pattern) = &allowed_pattern {
        check_pattern(pattern, &value)?;
    }
    let data_type = said(input.data_type);
    if let Some(other) = data_type.as_deref().filter(|it| !DATA_TYPES.contains(it)) {
        return Err(invalid(format!(
            "The following data type is not supported: {other} (Data type names are all \
             lowercase.)"
        )));
    }
    let overwrite = input.overwrite.unwrap_or(false);
    let tags = tags::RULES.read(input.tags)?;
    if overwrite && !tags.is_empty() {
        return Err(invalid(
            "Invalid request: tags and overwrite can't be used together. To create a parameter \
             with tags, please remove overwrite flag. To update tags for an existing parameter, \
             please use AddTagsToResource or RemoveTagsFromResource.",
        ));
    }
    let tier = tier(input.tier.as_ref(), value.len())?;
    Ok(Wanted {
        name,
        kind: input.r#type.as_ref().and_then(kind),
        value: Value::new(value),
        tags,
        overwrite,
        tier,
        data_type,
        description: input.description,
        allowed_pattern,
        key_id: said(input.key_id),
        modified_by: caller.principal_arn.to_string(),
    })
}

fn kind(given: &ParameterType) -> Option<ParameterKind> {
    match given {
        ParameterType::String => Some(ParameterKind::String),
        ParameterType::StringList => Some(ParameterKind::StringList),
        ParameterType::SecureString => Some(ParameterKind::SecureString),
        ParameterType::Unrecognized(_) => None,
    }
}

fn tier(given: Option<&ParameterTier>, bytes: usize) -> Result<Option<&'static str>, Fault> {
    let (tier, bytes_max) = match given {
        Some(ParameterTier::Advanced) => (Some("Advanced"), ADVANCED_BYTES_MAX),
        Some(ParameterTier::IntelligentTiering) if bytes > STANDARD_BYTES_MAX => {
            (Some("Advanced"), ADVANCED_BYTES_MAX)
        }
        Some(_) => (Some("Standard"), STANDARD_BYTES_MAX),
        // The tier of the version before may allow more; that is looked at when it is known.
        None => (None, ADVANCED_BYTES_MAX),
    };
    match bytes <= bytes_max {
        true => Ok(tier),
        false => Err(too_long(bytes_max)),
    }
}

fn too_long(bytes_max: usize) -> Fault {
    match bytes_max {
        STANDARD_BYTES_MAX => invalid(
            "Standard tier parameters support a maximum parameter value of 4096 characters. To \
             create a larger parameter value, upgrade the parameter to use the advanced-parameter \
             tier.",
        ),
        _ => invalid(
            "Advanced tier parameters support a maximum parameter value of 8192 characters.",
        ),
    }
}

fn check_pattern(pattern: &str, value: &str) -> Result<(), Fault> {
    let anchored = Regex::new(&format!("^(?:{pattern})$")).map_err(|_| {
        ErrorCode::InvalidAllowedPatternException
            .fault(format!("The regular expression {pattern} is not valid."))
    })?;
    match anchored.is_match(value) {
        true => Ok(()),
        false => Err(ErrorCode::ParameterPatternMismatchException.fault(format!(
            "Parameter value, cannot be validated against allowedPattern: {pattern}"
        ))),
    }
}

fn put(cx: &Context, txn: &mut Txn, wanted: &Wanted) -> Result<(u64, String), Fault> {
    let known = txn.get::<Parameter>(&wanted.name);
    let before = known.as_ref().and_then(|known| {
        txn.get::<ParameterVersion>(&parameter_version_key(&known.name, known.newest))
    });
    if known.is_some() && !wanted.overwrite {
        return Err(ErrorCode::ParameterAlreadyExists.fault(
            "The parameter already exists. To overwrite this value, set the overwrite option in \
             the request to true.",
        ));
    }
    let kind = match (wanted.kind, before.as_ref().map(|before| before.kind)) {
        (None, None) => {
            return Err(invalid("A parameter type is required when you create a parameter."));
        }
        (Some(kind), Some(before)) if kind != before => {
            return Err(ErrorCode::HierarchyTypeMismatchException.fault(
                "Parameter Store does not support changing a parameter type in a hierarchy. For \
                 example, you can't change a parameter from a String type to a SecureString type. \
                 You must create a new, unique parameter.",
            ));
        }
        (Some(kind), _) | (None, Some(kind)) => kind,
    };
    let tier = wanted.tier.map(str::to_owned);
    let tier = tier.or(before.as_ref().map(|before| before.tier.clone()));
    let tier = tier.unwrap_or_else(|| "Standard".to_owned());
    if tier == "Standard" && wanted.value.expose().len() > STANDARD_BYTES_MAX {
        return Err(too_long(STANDARD_BYTES_MAX));
    }
    make_room(txn, &wanted.name)?;
    let now = cx.now();
    let mut parameter = match known {
        Some(known) => Parameter::clone(&known),
        None => Parameter {
            name: wanted.name.clone(),
            newest: 0,
            tags: wanted.tags.clone(),
            created_at: now,
        },
    };
    parameter.newest += 1;
    let number = parameter.newest;
    let sealed_value = seal(cx, &parameter.name, number, parameter.created_at, &wanted.value)?;
    let kept = before.as_deref();
    txn.put(ParameterVersion {
        parameter: parameter.name.clone(),
        number,
        kind,
        sealed_value,
        description: wanted.description.clone().or(kept.and_then(|it| it.description.clone())),
        allowed_pattern: wanted.allowed_pattern.clone(),
        key_id: key_id(kind, wanted, kept),
        data_type: wanted
            .data_type
            .clone()
            .or(kept.map(|kept| kept.data_type.clone()))
            .unwrap_or_else(|| "text".to_owned()),
        tier: tier.clone(),
        modified_at: now,
        modified_by: wanted.modified_by.clone(),
        labels: BTreeSet::new(),
    });
    txn.put(parameter);
    Ok((number, tier))
}

/// Only a SecureString has a key; AWS's own when none is named.
fn key_id(kind: ParameterKind, wanted: &Wanted, kept: Option<&ParameterVersion>) -> Option<String> {
    if kind != ParameterKind::SecureString {
        return None;
    }
    let given = wanted.key_id.clone().or(kept.and_then(|kept| kept.key_id.clone()));
    given.or(Some("alias/aws/ssm".to_owned()))
}

/// The oldest version goes when there are too many, unless a label holds it.
fn make_room(txn: &mut Txn, name: &str) -> Result<(), Fault> {
    let all = versions(&txn.snapshot().clone(), name);
    let Some(oldest) = all.first().filter(|_| all.len() >= VERSIONS_MAX) else { return Ok(()) };
    if !oldest.labels.is_empty() {
        return Err(ErrorCode::ParameterMaxVersionLimitExceeded.fault(format!(
            "You attempted to create a new version of {name} by calling the PutParameter API with \
             the overwrite flag. Version {}, the oldest version, can't be deleted because it has a \
             label associated with it. Move the label to another version of the parameter, and try \
             again.",
            oldest.number
        )));
    }
    txn.delete::<ParameterVersion>(&parameter_version_key(name, oldest.number));
    Ok(())
}
