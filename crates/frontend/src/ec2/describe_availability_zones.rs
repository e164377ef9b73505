//! DescribeAvailabilityZones: the zones of the region, whether or not an instance is in them.

use super::derived;
use super::describe::dry_run;
use super::filter::{Column, each, select, shown, text};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::ZONE_LETTERS;
use std::collections::BTreeSet;
use wire::ec2::{
    AvailabilityZone, DescribeAvailabilityZonesRequest, DescribeAvailabilityZonesResult,
};

const COLUMNS: &[Column<AvailabilityZone>] = &[
    ("group-long-name", |it| text(&it.group_long_name)),
    ("group-name", |it| text(&it.group_name)),
    ("message", |it| each(&it.messages, |it| it.message.clone())),
    ("opt-in-status", |it| shown(&it.opt_in_status)),
    ("parent-zone-id", |it| text(&it.parent_zone_id)),
    ("parent-zone-name", |it| text(&it.parent_zone_name)),
    ("region-name", |it| text(&it.region_name)),
    ("state", |it| shown(&it.state)),
    ("zone-id", |it| text(&it.zone_id)),
    ("zone-name", |it| text(&it.zone_name)),
    ("zone-type", |it| text(&it.zone_type)),
];

pub async fn describe_availability_zones(
    cx: &Context,
    _caller: &Caller,
    input: DescribeAvailabilityZonesRequest,
) -> Result<DescribeAvailabilityZonesResult, Fault> {
    dry_run(input.dry_run)?;
    let names = ZONE_LETTERS.iter().map(|letter| format!("{}{letter}", cx.locality.region));
    let mut zones: Vec<_> = names.map(|name| show(cx, name)).collect();
    let name = |zone: &AvailabilityZone| zone.zone_name.clone();
    narrow(&mut zones, input.zone_names.as_deref(), name)?;
    narrow(&mut zones, input.zone_ids.as_deref(), |zone| zone.zone_id.clone())?;
    let zones = select(zones, input.filters.as_deref(), COLUMNS, None)?;
    Ok(DescribeAvailabilityZonesResult { availability_zones: Some(zones) })
}

fn narrow(
    zones: &mut Vec<AvailabilityZone>,
    wanted: Option<&[String]>,
    value: impl Fn(&AvailabilityZone) -> Option<String>,
) -> Result<(), Fault> {
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else { return Ok(()) };
    let known: BTreeSet<String> = zones.iter().filter_map(&value).collect();
    if let Some(unknown) = wanted.iter().find(|wanted| !known.contains(*wanted)) {
        let text = format!("Invalid availability zone: [{unknown}]");
        return Err(Fault::client("InvalidParameterValue", text));
    }
    zones.retain(|zone| value(zone).is_some_and(|value| wanted.contains(&value)));
    Ok(())
}

fn show(cx: &Context, name: String) -> AvailabilityZone {
    let region = cx.locality.region.to_string();
    AvailabilityZone {
        group_name: Some(format!("{region}-zg-1")),
        messages: Some(Vec::new()),
        network_border_group: Some(region.clone()),
        opt_in_status: Some("opt-in-not-required".into()),
        region_name: Some(region),
        state: Some("available".into()),
        zone_id: Some(derived::zone_id(&cx.locality, &name)),
        zone_name: Some(name),
        zone_type: Some("availability-zone".to_owned()),
        ..AvailabilityZone::default()
    }
}
