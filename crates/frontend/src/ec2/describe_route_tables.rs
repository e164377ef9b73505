//! DescribeRouteTables: each table with the way inside, which is stored in none, and with what
//! became of its routes' targets.

use super::derived;
use super::describe::{by_ids, dry_run, page};
use super::filter::{Column, each, select, shown, text};
use super::nouns::Resource;
use super::routes;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::SubnetId;
use model::network::{self, RouteDestination, RouteTarget};
use store::Snapshot;
use wire::ec2::{
    DescribeRouteTablesRequest, DescribeRouteTablesResult, Route, RouteTable,
    RouteTableAssociation, RouteTableAssociationState,
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
    ("route.destination-ipv6-cidr-block", |it| {
        each(&it.routes, |it| it.destination_ipv6_cidr_block.clone())
    }),
    ("route.destination-prefix-list-id", |it| {
        each(&it.routes, |it| it.destination_prefix_list_id.clone())
    }),
    ("route.egress-only-internet-gateway-id", |_| Vec::new()),
    ("route.gateway-id", |it| each(&it.routes, |it| it.gateway_id.clone())),
    ("route.instance-id", |_| Vec::new()),
    ("route.nat-gateway-id", |it| each(&it.routes, |it| it.nat_gateway_id.clone())),
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
    let all = snapshot.scan::<network::RouteTable>("");
    let all = all.map(|(_, table)| show(cx, &snapshot, &table)).collect();
    let ids = input.route_table_ids.as_deref();
    let noun = &network::RouteTable::NOUN;
    let found = by_ids(all, ids, noun, |it| &it.route_table_id)?;
    let found = select(found, input.filters.as_deref(), COLUMNS, Some(|it| &it.tags))?;
    let token = input.next_token.as_deref();
    let (tables, next_token) = page(found, ids, input.max_results, token, |it| &it.route_table_id)?;
    Ok(DescribeRouteTablesResult { route_tables: Some(tables), next_token })
}

pub fn show(cx: &Context, snapshot: &Snapshot, table: &network::RouteTable) -> RouteTable {
    let vpc = snapshot.get::<network::Vpc>(table.vpc.as_str());
    let local = vpc.iter().flat_map(|vpc| vpc.cidrs()).map(|cidr| Route {
        destination_cidr_block: Some(cidr.to_string()),
        gateway_id: Some("local".to_owned()),
        origin: Some("CreateRouteTable".into()),
        state: Some("active".into()),
        ..Route::default()
    });
    let added = table.routes.iter().map(|route| show_route(cx, snapshot, table, route));
    let main = table.main.iter().map(|id| association(table, id.as_str(), None));
    let explicit = table.associations.iter();
    let explicit = explicit.map(|it| association(table, it.id.as_str(), Some(&it.subnet)));
    RouteTable {
        associations: Some(main.chain(explicit).collect()),
        owner_id: Some(cx.locality.account.to_string()),
        propagating_vgws: Some(Vec::new()),
        route_table_id: Some(table.id.to_string()),
        routes: Some(local.chain(added).collect()),
        tags: derived::tags(&table.tags),
        vpc_id: Some(table.vpc.to_string()),
    }
}

fn show_route(
    cx: &Context,
    snapshot: &Snapshot,
    table: &network::RouteTable,
    route: &network::Route,
) -> Route {
    let is_active = routes::is_active(snapshot, table, &route.target);
    let mut shown = Route {
        origin: Some("CreateRoute".into()),
        state: Some(if is_active { "active" } else { "blackhole" }.into()),
        ..Route::default()
    };
    let (_, to) = routes::name(&route.destination);
    match &route.destination {
        RouteDestination::Range(_) => shown.destination_cidr_block = Some(to),
        RouteDestination::RangeV6(_) => shown.destination_ipv6_cidr_block = Some(to),
        RouteDestination::PrefixList(_) => shown.destination_prefix_list_id = Some(to),
    }
    match &route.target {
        RouteTarget::InternetGateway(id) => shown.gateway_id = Some(id.to_string()),
        RouteTarget::NatGateway(id) => shown.nat_gateway_id = Some(id.to_string()),
        RouteTarget::Endpoint(id) => shown.gateway_id = Some(id.to_string()),
        RouteTarget::Interface(id) => {
            shown.network_interface_id = Some(id.to_string());
            shown.instance_owner_id = Some(cx.locality.account.to_string());
        }
    }
    shown
}

fn association(
    table: &network::RouteTable,
    id: &str,
    subnet: Option<&SubnetId>,
) -> RouteTableAssociation {
    RouteTableAssociation {
        association_state: Some(associated()),
        main: Some(subnet.is_none()),
        route_table_association_id: Some(id.to_owned()),
        route_table_id: Some(table.id.to_string()),
        subnet_id: subnet.map(ToString::to_string),
        ..RouteTableAssociation::default()
    }
}

pub fn associated() -> RouteTableAssociationState {
    RouteTableAssociationState { state: Some("associated".into()), status_message: None }
}
