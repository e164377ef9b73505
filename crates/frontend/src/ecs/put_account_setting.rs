//! PutAccountSetting: for one principal, the caller unless another is named.

use super::settings;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ecs::{PutAccountSettingRequest, PutAccountSettingResponse};

pub async fn put_account_setting(
    cx: &Context,
    caller: &Caller,
    input: PutAccountSettingRequest,
) -> Result<PutAccountSettingResponse, Fault> {
    let principal = settings::principal(cx, caller, input.principal_arn.as_deref())?;
    let value = input.value.as_deref().unwrap_or("");
    let setting = settings::put(cx, principal, input.name.as_ref(), value).await?;
    Ok(PutAccountSettingResponse { setting: Some(setting) })
}
