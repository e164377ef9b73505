//! DescribeRegions: there is one, the one we serve.

use super::describe::dry_run;
use super::filter::{Column, select, text};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ec2::{DescribeRegionsRequest, DescribeRegionsResult, Region};

const COLUMNS: &[Column<Region>] = &[
    ("endpoint", |it| text(&it.endpoint)),
    ("opt-in-status", |it| text(&it.opt_in_status)),
    ("region-name", |it| text(&it.region_name)),
];

pub async fn describe_regions(
    cx: &Context,
    _caller: &Caller,
    input: DescribeRegionsRequest,
) -> Result<DescribeRegionsResult, Fault> {
    dry_run(input.dry_run)?;
    let own = cx.locality.region.as_str();
    let names = input.region_names.unwrap_or_default();
    if let Some(unknown) = names.iter().find(|name| *name != own) {
        let text = format!("Invalid region name: [{unknown}]");
        return Err(Fault::client("InvalidParameterValue", text));
    }
    let region = Region {
        endpoint: Some(format!("ec2.{own}.amazonaws.com")),
        opt_in_status: Some("opt-in-not-required".to_owned()),
        region_name: Some(own.to_owned()),
        ..Region::default()
    };
    let regions = select(vec![region], input.filters.as_deref(), COLUMNS, None)?;
    Ok(DescribeRegionsResult { regions: Some(regions) })
}
