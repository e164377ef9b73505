//! CreateInternetGateway: attached to nothing yet.

use super::describe::dry_run;
use super::describe_internet_gateways::show;
use super::tagged;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::INTERNET_GATEWAYS_MAX;
use model::InternetGatewayId;
use model::network::InternetGateway;
use wire::ec2::{CreateInternetGatewayRequest, CreateInternetGatewayResult};

pub async fn create_internet_gateway(
    cx: &Context,
    _caller: &Caller,
    input: CreateInternetGatewayRequest,
) -> Result<CreateInternetGatewayResult, Fault> {
    dry_run(input.dry_run)?;
    let tags = tagged::given(input.tag_specifications, "internet-gateway")?;
    let gateway = cx.transact(|txn| {
        if txn.snapshot().count::<InternetGateway>("") >= INTERNET_GATEWAYS_MAX {
            let text = "The maximum number of internet gateways has been reached.";
            return Err(Fault::client("InternetGatewayLimitExceeded", text));
        }
        let gateway = InternetGateway {
            id: InternetGatewayId::mint(cx.random()),
            vpc: None,
            created_at: cx.now(),
            tags: tags.clone(),
        };
        txn.put(gateway.clone());
        Ok(gateway)
    });
    Ok(CreateInternetGatewayResult { internet_gateway: Some(show(cx, &gateway.await?)) })
}
