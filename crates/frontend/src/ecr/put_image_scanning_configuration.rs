//! PutImageScanningConfiguration. The setting is kept and shown; there is no scanner that would
//! obey it.

use super::repositories::{change, named};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ecr::{
    ImageScanningConfiguration, PutImageScanningConfigurationRequest,
    PutImageScanningConfigurationResponse,
};

pub async fn put_image_scanning_configuration(
    cx: &Context,
    _caller: &Caller,
    input: PutImageScanningConfigurationRequest,
) -> Result<PutImageScanningConfigurationResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let wanted = input.image_scanning_configuration.unwrap_or_default();
    let scan_on_push = wanted.scan_on_push.unwrap_or(false);
    change(cx, &name, |repository| {
        repository.scan_on_push = scan_on_push;
        Ok(())
    })
    .await?;
    Ok(PutImageScanningConfigurationResponse {
        image_scanning_configuration: Some(ImageScanningConfiguration {
            scan_on_push: Some(scan_on_push),
        }),
        registry_id: Some(cx.locality.account.to_string()),
        repository_name: Some(name.to_string()),
    })
}
