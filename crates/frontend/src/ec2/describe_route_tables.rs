//! DescribeRouteTables: the main table of each VPC, with the way inside and the way out.

use super::derived;
use super::describe::{Noun, by_ids, dry_run, page};
use super::filter::{Column, each, select, shown, text};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::Vpc;
use wire::ec2::{
    DescribeRouteTablesRequest, DescribeRouteTablesResult, Route, RouteTable,
    RouteTableAssociation, RouteTableAssociationState,
};

const NOUN: Noun = Noun {
    prefix: "rtb-",
    not_found: "InvalidRouteTableID.NotFound",
    malformed: "InvalidRouteTableId.Malformed",
    name: "routeTable ID",
};

const COLUMNS: &[Column<RouteTable>] = &[
    ("association.gateway-id", |it| each(&it.associations, |it| it.gateway_id.clone())),
    ("association.main", |it| {
        it.associations.iter().flatten().flat_map(|it| shown(&it.main)).collect()
    }),
    ("association.route-table-association-id", |it| {
        each(&it.associations, |it| it.route_table_association_id.clone())
    }),
    ("association.route-table-id", |it| each(&it.associations, |it| it.route_table_id.clone())),
    ("association.subnet-id", |it| each(&it.associations, |it| it.subnet_id.clone())),
    ("owner-id", |it| text(&it.owner_id)),
    ("route-table-id", |it| text(&it.route_table_id)),
    ("route.destination-cidr-block", |it| each(&it.routes, |it| it.destination_cidr_block.clone())),
    ("route.destination-ipv6-cidr-block", |_| Vec::new()),
    ("route.destination-prefix-list-id", |_| Vec::new()),
    ("route.egress-only-internet-gateway-id", |_| Vec::new()),
    ("route.gateway-id", |it| each(&it.routes, |it| it.gateway_id.clone())),
    ("route.instance-id", |_| Vec::new()),
    ("route.nat-gateway-id", |_| Vec::new()),
    ("route.transit-gateway-id", |_| Vec::new()),
    ("route.origin", |it| it.routes.iter().flatten().flat_map(|it| shown(&it.origin)).collect()),
    ("route.state", |it| it.routes.iter().flatten().flat_map(|it| shown(&it.state)).collect()),
    ("route.vpc-peering-connection-id", |_| Vec::new()),
    ("vpc-id", |it| text(&it.vpc_id)),
];

pub async fn describe_route_tables(
    cx: &Context,
    _caller: &Caller,
    input: DescribeRouteTablesRequest,
) -> Result<DescribeRouteTablesResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let all = snapshot.scan::<Vpc>("").map(|(_, vpc)| show(cx, &vpc)).collect();
    let ids = input.route_table_ids.as_deref();
    let found = by_ids(all, ids, &NOUN, |it| &it.route_table_id)?;
    let found = select(found, input.filters.as_deref(), COLUMNS, Some(|it| &it.tags))?;
    let token = input.next_token.as_deref();
    let (tables, next_token) = page(found, ids, input.max_results, token, |it| &it.route_table_id)?;
    Ok(DescribeRouteTablesResult { route_tables: Some(tables), next_token })
}

fn show(cx: &Context, vpc: &Vpc) -> RouteTable {
    let id = derived::id("rtb-", &vpc.id);
    let route = |destination: String, gateway: String, origin: &str| Route {
        destination_cidr_block: Some(destination),
        gateway_id: Some(gateway),
        origin: Some(origin.into()),
        state: Some("active".into()),
        ..Route::default()
    };
    let inside = route(vpc.cidr.to_string(), "local".to_owned(), "CreateRouteTable");
    let outside = route("0.0.0.0/0".to_owned(), derived::id("igw-", &vpc.id), "CreateRoute");
    RouteTable {
        associations: Some(vec![RouteTableAssociation {
            association_state: Some(RouteTableAssociationState {
                state: Some("associated".into()),
                status_message: None,
            }),
            main: Some(true),
            route_table_association_id: Some(derived::id("rtbassoc-", &vpc.id)),
            route_table_id: Some(id.clone()),
            ..RouteTableAssociation::default()
        }]),
        owner_id: Some(cx.locality.account.to_string()),
        propagating_vgws: Some(Vec::new()),
        route_table_id: Some(id),
        routes: Some(vec![inside, outside]),
        tags: Some(Vec::new()),
        vpc_id: Some(vpc.id.to_string()),
    }
}
