//! GetCallerIdentity: whose key signed the call.

use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::sts::{GetCallerIdentityRequest, GetCallerIdentityResponse};

pub async fn get_caller_identity(
    cx: &Context,
    caller: &Caller,
    _input: GetCallerIdentityRequest,
) -> Result<GetCallerIdentityResponse, Fault> {
    Ok(GetCallerIdentityResponse {
        account: Some(cx.locality.account.to_string()),
        arn: Some(caller.principal_arn.to_string()),
        user_id: Some(caller.user_id.to_string()),
    })
}
