//! PutAccountSettingDefault: for every principal that has set nothing of its own.

use super::settings;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ecs::{PutAccountSettingDefaultRequest, PutAccountSettingDefaultResponse};

pub async fn put_account_setting_default(
    cx: &Context,
    _caller: &Caller,
    input: PutAccountSettingDefaultRequest,
) -> Result<PutAccountSettingDefaultResponse, Fault> {
    let value = input.value.as_deref().unwrap_or("");
    let setting = settings::put(cx, None, input.name.as_ref(), value).await?;
    Ok(PutAccountSettingDefaultResponse { setting: Some(setting) })
}
