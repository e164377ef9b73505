//! Amazon EC2: the network as ECS users need to see it. So far it is read only: there is one
//! default VPC, made at the first start.

mod default_network;
mod derived;
mod describe;
mod describe_account_attributes;
mod describe_availability_zones;
mod describe_internet_gateways;
mod describe_network_interfaces;
mod describe_regions;
mod describe_route_tables;
mod describe_security_group_rules;
mod describe_security_groups;
mod describe_subnets;
mod describe_tags;
mod describe_vpc_attribute;
mod describe_vpcs;
mod filter;
mod make_vpc;
#[cfg(test)]
mod tests;

pub use default_network::ensure_default_network;

use crate::dispatch::{Route, route};

pub const ROUTES: &[Route] = &[
    route!(
        ec2,
        DescribeAccountAttributesRequest,
        describe_account_attributes::describe_account_attributes
    ),
    route!(
        ec2,
        DescribeAvailabilityZonesRequest,
        describe_availability_zones::describe_availability_zones,
        ignores["AllAvailabilityZones"]
    ),
    route!(
        ec2,
        DescribeInternetGatewaysRequest,
        describe_internet_gateways::describe_internet_gateways
    ),
    route!(
        ec2,
        DescribeNetworkInterfacesRequest,
        describe_network_interfaces::describe_network_interfaces,
        ignores["IncludeManagedResources"]
    ),
    route!(ec2, DescribeRegionsRequest, describe_regions::describe_regions, ignores["AllRegions"]),
    route!(ec2, DescribeRouteTablesRequest, describe_route_tables::describe_route_tables),
    route!(
        ec2,
        DescribeSecurityGroupRulesRequest,
        describe_security_group_rules::describe_security_group_rules
    ),
    route!(ec2, DescribeSecurityGroupsRequest, describe_security_groups::describe_security_groups),
    route!(ec2, DescribeSubnetsRequest, describe_subnets::describe_subnets),
    route!(ec2, DescribeTagsRequest, describe_tags::describe_tags),
    route!(ec2, DescribeVpcAttributeRequest, describe_vpc_attribute::describe_vpc_attribute),
    route!(ec2, DescribeVpcsRequest, describe_vpcs::describe_vpcs),
];
