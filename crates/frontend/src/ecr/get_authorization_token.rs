//! GetAuthorizationToken: what `docker login -u AWS` needs, good for twelve hours.

use super::repositories::{host, invalid};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use wire::ecr::{AuthorizationData, GetAuthorizationTokenRequest, GetAuthorizationTokenResponse};

/// The user name that goes with the password.
const USER: &str = "AWS";

pub async fn get_authorization_token(
    cx: &Context,
    caller: &Caller,
    input: GetAuthorizationTokenRequest,
) -> Result<GetAuthorizationTokenResponse, Fault> {
    let account = cx.locality.account.as_str();
    let registries = input.registry_ids.unwrap_or_default();
    if let Some(other) = registries.iter().find(|id| *id != account) {
        return Err(invalid("registryIds", &format!("the registry {other} is not served here")));
    }
    let (password, expires_at) = (cx.registry_password)(cx.now());
    let host = host(cx, caller);
    // Our own endpoint speaks plain HTTP; under AWS's names there is always TLS in front.
    let scheme = if host == cx.locality.registry_host() { "https" } else { "http" };
    Ok(GetAuthorizationTokenResponse {
        authorization_data: Some(vec![AuthorizationData {
            authorization_token: Some(STANDARD.encode(format!("{USER}:{password}"))),
            expires_at: Some(wire::Timestamp::from_unix_ms(expires_at.0)),
            proxy_endpoint: Some(format!("{scheme}://{host}")),
        }]),
    })
}
