//! DescribeDhcpOptions.

use super::derived;
use super::describe::{by_ids, dry_run, page};
use super::filter::{Column, each, select, text};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network;
use wire::ec2::{
    AttributeValue, DescribeDhcpOptionsRequest, DescribeDhcpOptionsResult, DhcpConfiguration,
    DhcpOptions,
};

const COLUMNS: &[Column<DhcpOptions>] = &[
    ("dhcp-options-id", |it| text(&it.dhcp_options_id)),
    ("key", |it| each(&it.dhcp_configurations, |it| it.key.clone())),
    ("owner-id", |it| text(&it.owner_id)),
    ("value", |it| {
        let all = it.dhcp_configurations.iter().flatten();
        all.flat_map(|it| each(&it.values, |value| value.value.clone())).collect()
    }),
];

pub async fn describe_dhcp_options(
    cx: &Context,
    _caller: &Caller,
    input: DescribeDhcpOptionsRequest,
) -> Result<DescribeDhcpOptionsResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let all = snapshot.scan::<network::DhcpOptions>("").map(|(_, options)| show(cx, &options));
    let ids = input.dhcp_options_ids.as_deref();
    let noun = &network::DhcpOptions::NOUN;
    let found = by_ids(all.collect(), ids, noun, |it| &it.dhcp_options_id)?;
    let found = select(found, input.filters.as_deref(), COLUMNS, Some(|it| &it.tags))?;
    let token = input.next_token.as_deref();
    let (options, next_token) =
        page(found, ids, input.max_results, token, |it| &it.dhcp_options_id)?;
    Ok(DescribeDhcpOptionsResult { dhcp_options: Some(options), next_token })
}

pub fn show(cx: &Context, options: &network::DhcpOptions) -> DhcpOptions {
    let configurations = options.configurations.iter().map(|(key, values)| DhcpConfiguration {
        key: Some(key.clone()),
        values: Some(values.iter().map(|it| AttributeValue { value: Some(it.clone()) }).collect()),
    });
    DhcpOptions {
        dhcp_configurations: Some(configurations.collect()),
        dhcp_options_id: Some(options.id.to_string()),
        owner_id: Some(cx.locality.account.to_string()),
        tags: derived::tags(&options.tags),
    }
}
