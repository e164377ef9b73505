//! ListAccountSettings: what a principal has set, or with `effectiveSettings` what holds for it,
//! which is always exactly one value for every setting.

use super::page::Page;
use super::settings::{self, Known};
use crate::context::{Caller, Context};
use crate::fault::{Fault, invalid_parameter};
use model::account::AccountSetting;
use store::kinds::account_setting_key;
use wire::ecs::{ListAccountSettingsRequest, ListAccountSettingsResponse};

/// Source: API reference, ListAccountSettings.
const PAGE_ITEMS_DEFAULT: usize = 10;

pub async fn list_account_settings(
    cx: &Context,
    caller: &Caller,
    input: ListAccountSettingsRequest,
) -> Result<ListAccountSettingsResponse, Fault> {
    let name = input.name.as_ref().map(wire::ecs::SettingName::as_str);
    if name.is_none() && input.value.is_some() {
        return Err(invalid_parameter("A value can be given only together with a name."));
    }
    let principal = settings::principal(cx, caller, input.principal_arn.as_deref())?;
    let effective = input.effective_settings == Some(true);
    let filters = [
        Some("ListAccountSettings"),
        name,
        input.value.as_deref(),
        principal.as_deref(),
        effective.then_some("effective"),
    ];
    let token = input.next_token.as_deref();
    let page = Page::new(&filters, token, input.max_results, PAGE_ITEMS_DEFAULT)?;

    let snapshot = cx.store.snapshot();
    let root = cx.locality.root_principal();
    let whose = principal.as_deref().unwrap_or(&root);
    let value_of = |known: &Known| {
        if effective {
            return Some(settings::effective_in(&snapshot, whose, known));
        }
        let key = account_setting_key(known.name, principal.as_deref());
        Some(snapshot.get::<AccountSetting>(&key)?.value.value.clone())
    };
    let found: Vec<(&Known, String)> = settings::KNOWN
        .iter()
        .filter(|known| name.is_none_or(|name| name == known.name))
        .filter_map(|known| Some((known, value_of(known)?)))
        .filter(|(_, value)| input.value.as_ref().is_none_or(|wanted| wanted == value))
        .collect();
    let (found, next_token) = page.take_sorted(found, false, |(known, _)| known.name);
    let shown = found
        .into_iter()
        .map(|(known, value)| settings::show(cx, known, principal.as_deref(), value))
        .collect();
    Ok(ListAccountSettingsResponse { settings: Some(shown), next_token })
}
