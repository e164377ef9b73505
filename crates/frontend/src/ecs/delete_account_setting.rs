//! DeleteAccountSetting: what a principal had set holds no longer; the answer says what does now.

use super::settings;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::account::AccountSetting;
use store::kinds::account_setting_key;
use wire::ecs::{DeleteAccountSettingRequest, DeleteAccountSettingResponse};

pub async fn delete_account_setting(
    cx: &Context,
    caller: &Caller,
    input: DeleteAccountSettingRequest,
) -> Result<DeleteAccountSettingResponse, Fault> {
    let setting = settings::find(input.name.as_ref())?;
    let principal = settings::principal(cx, caller, input.principal_arn.as_deref())?;
    let key = account_setting_key(setting.name, principal.as_deref());
    cx.transact(|txn| {
        txn.delete::<AccountSetting>(&key);
        Ok(())
    })
    .await?;
    let root = cx.locality.root_principal();
    let whose = principal.as_deref().unwrap_or(&root);
    let value = settings::effective_in(&cx.store.snapshot(), whose, setting);
    let shown = settings::show(cx, setting, principal.as_deref(), value);
    Ok(DeleteAccountSettingResponse { setting: Some(shown) })
}
