//! Account settings: their names, values and defaults, and which one holds for a caller. A
//! principal's own comes first, then the account's, then AWS's default. Source: developer guide,
//! ecs-account-settings; API reference, PutAccountSetting.

use crate::context::{Caller, Context};
use crate::fault::{Fault, invalid_parameter};
use model::account::AccountSetting;
use store::Snapshot;
use store::kinds::account_setting_key;
use wire::ecs;

/// A setting with the values it takes. The first one is the default.
pub struct Known {
    pub name: &'static str,
    pub values: &'static [&'static str],
    /// Set by AWS itself; nobody can change it.
    pub aws_managed: bool,
}

const fn known(name: &'static str, values: &'static [&'static str]) -> Known {
    Known { name, values, aws_managed: false }
}

pub const DEFAULT_LOG_DRIVER_MODE: &str = "defaultLogDriverMode";
pub const NON_BLOCKING: &str = "non-blocking";

/// In the order of their names.
pub const KNOWN: &[Known] = &[
    known("awsvpcTrunking", &["disabled", "enabled"]),
    known("containerInsights", &["disabled", "enabled", "enhanced"]),
    known("containerInstanceLongArnFormat", &["enabled"]),
    known(DEFAULT_LOG_DRIVER_MODE, &[NON_BLOCKING, "blocking"]),
    known("fargateEventWindows", &["disabled", "enabled"]),
    known("fargateFIPSMode", &["disabled", "enabled"]),
    known("fargateTaskRetirementWaitPeriod", &["7", "0", "14"]),
    Known { name: "guardDutyActivate", values: &["off", "on"], aws_managed: true },
    known("serviceLongArnFormat", &["enabled"]),
    known("tagResourceAuthorization", &["on", "off"]),
    known("taskLongArnFormat", &["enabled"]),
];

pub fn find(name: Option<&ecs::SettingName>) -> Result<&'static Known, Fault> {
    let name = name.map_or("", |name| name.as_str());
    let found = KNOWN.iter().find(|known| known.name == name);
    found.ok_or_else(|| invalid_parameter(format!("Unknown account setting '{name}'.")))
}

/// Whether a setting may be given this value.
pub fn check(setting: &Known, value: &str) -> Result<(), Fault> {
    if setting.aws_managed {
        let text = format!("The setting {} is managed by AWS and can't be changed.", setting.name);
        return Err(invalid_parameter(text));
    }
    if setting.values.contains(&value) {
        return Ok(());
    }
    if setting.name.ends_with("LongArnFormat") && value == "disabled" {
        return Err(invalid_parameter("You can no longer disable Long Arn settings"));
    }
    let values = setting.values.join(",");
    Err(invalid_parameter(format!("{} should be one of [{values}]", setting.name)))
}

/// The value that holds for a principal.
pub fn effective_in(snapshot: &Snapshot, principal: &str, setting: &Known) -> String {
    let stored = |principal| {
        let key = account_setting_key(setting.name, principal);
        snapshot.get::<AccountSetting>(&key).map(|found| found.value.value.clone())
    };
    let found = stored(Some(principal)).or_else(|| stored(None));
    found.unwrap_or_else(|| setting.values[0].to_owned())
}

/// The value that holds for the caller.
pub fn effective(cx: &Context, caller: &Caller, name: &str) -> String {
    let setting = KNOWN.iter().find(|known| known.name == name).expect("the name is one of KNOWN");
    effective_in(&cx.store.snapshot(), &caller.principal_arn, setting)
}

/// Whose setting a call means: None is the account's default. What the root user sets holds for
/// everybody who has set nothing. Source: API reference, PutAccountSetting.
pub fn principal(
    cx: &Context,
    caller: &Caller,
    given: Option<&str>,
) -> Result<Option<String>, Fault> {
    let principal = given.filter(|arn| !arn.is_empty()).unwrap_or(&caller.principal_arn);
    let ours = model::arn::Arn::parse(principal)
        .is_some_and(|arn| arn.service == "iam" && arn.account == cx.locality.account.as_str());
    if !ours {
        return Err(invalid_parameter(format!("Invalid principal ARN: {principal}")));
    }
    let root = principal == cx.locality.root_principal();
    Ok((!root).then(|| principal.to_owned()))
}

pub fn show(cx: &Context, setting: &Known, principal: Option<&str>, value: String) -> ecs::Setting {
    let root = || cx.locality.root_principal();
    ecs::Setting {
        name: Some(setting.name.into()),
        value: Some(value),
        principal_arn: Some(principal.map_or_else(root, str::to_owned)),
        r#type: Some(if setting.aws_managed {
            ecs::SettingType::AwsManaged
        } else {
            ecs::SettingType::User
        }),
    }
}

/// Stores a setting; `principal` of None sets the account's default.
pub async fn put(
    cx: &Context,
    principal: Option<String>,
    name: Option<&ecs::SettingName>,
    value: &str,
) -> Result<ecs::Setting, Fault> {
    let setting = find(name)?;
    check(setting, value)?;
    let record = AccountSetting {
        name: setting.name.to_owned(),
        principal_arn: principal.clone(),
        value: value.to_owned(),
    };
    cx.transact(|txn| {
        txn.put(record.clone());
        Ok(())
    })
    .await?;
    Ok(show(cx, setting, principal.as_deref(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_the_model_is_known() {
        let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
        let mut modelled = <ecs::SettingName as wire::Choice>::VALUES.to_vec();
        modelled.sort_unstable();
        assert_eq!(names, modelled);
    }
}
