//! DescribeInternetGateways.

use super::derived;
use super::describe::{by_ids, dry_run, page};
use super::filter::{Column, each, select, text};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network;
use wire::ec2::{
    DescribeInternetGatewaysRequest, DescribeInternetGatewaysResult, InternetGateway,
    InternetGatewayAttachment,
};

const COLUMNS: &[Column<InternetGateway>] = &[
    ("attachment.state", |it| {
        each(&it.attachments, |it| it.state.as_ref().map(ToString::to_string))
    }),
    ("attachment.vpc-id", |it| each(&it.attachments, |it| it.vpc_id.clone())),
    ("internet-gateway-id", |it| text(&it.internet_gateway_id)),
    ("owner-id", |it| text(&it.owner_id)),
];

pub async fn describe_internet_gateways(
    cx: &Context,
    _caller: &Caller,
    input: DescribeInternetGatewaysRequest,
) -> Result<DescribeInternetGatewaysResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let all = snapshot.scan::<network::InternetGateway>("");
    let all = all.map(|(_, gateway)| show(cx, &gateway)).collect();
    let ids = input.internet_gateway_ids.as_deref();
    let found = by_ids(all, ids, &network::InternetGateway::NOUN, |it| &it.internet_gateway_id)?;
    let found = select(found, input.filters.as_deref(), COLUMNS, Some(|it| &it.tags))?;
    let token = input.next_token.as_deref();
    let (gateways, next_token) =
        page(found, ids, input.max_results, token, |it| &it.internet_gateway_id)?;
    Ok(DescribeInternetGatewaysResult { internet_gateways: Some(gateways), next_token })
}

pub fn show(cx: &Context, gateway: &network::InternetGateway) -> InternetGateway {
    let attachment = gateway.vpc.as_ref().map(|vpc| InternetGatewayAttachment {
        // Not `attached`: internet gateways have their own word for it.
        state: Some("available".into()),
        vpc_id: Some(vpc.to_string()),
    });
    InternetGateway {
        attachments: Some(attachment.into_iter().collect()),
        internet_gateway_id: Some(gateway.id.to_string()),
        owner_id: Some(cx.locality.account.to_string()),
        tags: derived::tags(&gateway.tags),
    }
}
