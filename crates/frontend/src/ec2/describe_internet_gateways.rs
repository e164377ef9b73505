//! DescribeInternetGateways: every VPC has one, since every task has a way out.

use super::derived;
use super::describe::{Noun, by_ids, dry_run, page};
use super::filter::{Column, each, select, text};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::Vpc;
use wire::ec2::{
    DescribeInternetGatewaysRequest, DescribeInternetGatewaysResult, InternetGateway,
    InternetGatewayAttachment,
};

const NOUN: Noun = Noun {
    prefix: "igw-",
    not_found: "InvalidInternetGatewayID.NotFound",
    malformed: "InvalidInternetGatewayId.Malformed",
    name: "internetGateway ID",
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
    let all = snapshot.scan::<Vpc>("").map(|(_, vpc)| show(cx, &vpc)).collect();
    let ids = input.internet_gateway_ids.as_deref();
    let found = by_ids(all, ids, &NOUN, |it| &it.internet_gateway_id)?;
    let found = select(found, input.filters.as_deref(), COLUMNS, Some(|it| &it.tags))?;
    let token = input.next_token.as_deref();
    let (gateways, next_token) =
        page(found, ids, input.max_results, token, |it| &it.internet_gateway_id)?;
    Ok(DescribeInternetGatewaysResult { internet_gateways: Some(gateways), next_token })
}

fn show(cx: &Context, vpc: &Vpc) -> InternetGateway {
    InternetGateway {
        attachments: Some(vec![InternetGatewayAttachment {
            // Not `attached`: internet gateways have their own word for it.
            state: Some("available".into()),
            vpc_id: Some(vpc.id.to_string()),
        }]),
        internet_gateway_id: Some(derived::id("igw-", &vpc.id)),
        owner_id: Some(cx.locality.account.to_string()),
        tags: Some(Vec::new()),
    }
}
