//! Amazon EC2: the network as ECS users need it: VPCs, subnets, routes, gateways, addresses,
//! security groups, network ACLs, endpoints and interfaces. There are no instances.

mod acl_entries;
mod allocate_address;
mod associate_address;
mod associate_dhcp_options;
mod associate_route_table;
mod associate_vpc_cidr_block;
mod attach_internet_gateway;
mod attach_network_interface;
mod authorize;
mod authorize_security_group_egress;
mod authorize_security_group_ingress;
mod change;
mod create_default_subnet;
mod create_default_vpc;
mod create_dhcp_options;
mod create_internet_gateway;
mod create_managed_prefix_list;
mod create_nat_gateway;
mod create_network_acl;
mod create_network_acl_entry;
mod create_network_interface;
mod create_route;
mod create_route_table;
mod create_security_group;
mod create_subnet;
mod create_tags;
mod create_vpc;
mod create_vpc_endpoint;
mod default_network;
mod delete_dhcp_options;
mod delete_internet_gateway;
mod delete_managed_prefix_list;
mod delete_nat_gateway;
mod delete_network_acl;
mod delete_network_acl_entry;
mod delete_network_interface;
mod delete_route;
mod delete_route_table;
mod delete_security_group;
mod delete_subnet;
mod delete_tags;
mod delete_vpc;
mod delete_vpc_endpoints;
mod derived;
mod describe;
mod describe_account_attributes;
mod describe_addresses;
mod describe_addresses_attribute;
mod describe_availability_zones;
mod describe_dhcp_options;
mod describe_internet_gateways;
mod describe_managed_prefix_lists;
mod describe_nat_gateways;
mod describe_network_acls;
mod describe_network_interface_attribute;
mod describe_network_interfaces;
mod describe_prefix_lists;
mod describe_regions;
mod describe_route_tables;
mod describe_security_group_references;
mod describe_security_group_rules;
mod describe_security_groups;
mod describe_subnets;
mod describe_tags;
mod describe_vpc_attribute;
mod describe_vpc_classic_link;
mod describe_vpc_classic_link_dns_support;
mod describe_vpc_endpoint_services;
mod describe_vpc_endpoints;
mod describe_vpcs;
mod detach_internet_gateway;
mod detach_network_interface;
mod disassociate_address;
mod disassociate_route_table;
mod disassociate_vpc_cidr_block;
mod endpoints;
mod filter;
mod get_managed_prefix_list_entries;
mod get_security_groups_for_vpc;
pub(crate) mod interfaces;
mod make_vpc;
mod modify_managed_prefix_list;
mod modify_network_interface_attribute;
mod modify_security_group_rules;
mod modify_subnet_attribute;
mod modify_vpc_attribute;
mod modify_vpc_endpoint;
mod nouns;
mod permissions;
mod prefix_entries;
mod release_address;
mod replace_network_acl_association;
mod replace_network_acl_entry;
mod replace_route;
mod replace_route_table_association;
mod revoke;
mod revoke_security_group_egress;
mod revoke_security_group_ingress;
mod routes;
mod rule_descriptions;
mod tagged;
#[cfg(test)]
mod tests;
mod update_security_group_rule_descriptions_egress;
mod update_security_group_rule_descriptions_ingress;

pub use default_network::ensure_default_network;

/// What load balancers need of the network they stand in.
pub mod balancing {
    pub use super::associate_address::tie;
    pub use super::change::{canonical, within};
    pub use super::interfaces::{attach, remove_interface, take_interface, take_public};
    pub use super::nouns::find;
}

use crate::dispatch::{Route, route};

pub const ROUTES: &[Route] = &[
    route!(ec2, AllocateAddressRequest, allocate_address::allocate_address),
    route!(ec2, AssociateAddressRequest, associate_address::associate_address),
    route!(
        ec2,
        AssociateDhcpOptionsRequest,
        associate_dhcp_options::associate_dhcp_options,
        ignores["DhcpOptionsId's NTP and NetBIOS servers (a container sees no DHCP)"]
    ),
    route!(ec2, AssociateRouteTableRequest, associate_route_table::associate_route_table),
    route!(ec2, AssociateVpcCidrBlockRequest, associate_vpc_cidr_block::associate_vpc_cidr_block),
    route!(ec2, AttachInternetGatewayRequest, attach_internet_gateway::attach_internet_gateway),
    route!(
        ec2,
        AttachNetworkInterfaceRequest,
        attach_network_interface::attach_network_interface,
        ignores["DeviceIndex", "EnaQueueCount", "EnaSrdSpecification", "NetworkCardIndex"]
    ),
    route!(
        ec2,
        AuthorizeSecurityGroupEgressRequest,
        authorize_security_group_egress::authorize_security_group_egress
    ),
    route!(
        ec2,
        AuthorizeSecurityGroupIngressRequest,
        authorize_security_group_ingress::authorize_security_group_ingress
    ),
    route!(ec2, CreateDefaultSubnetRequest, create_default_subnet::create_default_subnet),
    route!(ec2, CreateDefaultVpcRequest, create_default_vpc::create_default_vpc),
    route!(ec2, CreateDhcpOptionsRequest, create_dhcp_options::create_dhcp_options),
    route!(ec2, CreateInternetGatewayRequest, create_internet_gateway::create_internet_gateway),
    route!(
        ec2,
        CreateManagedPrefixListRequest,
        create_managed_prefix_list::create_managed_prefix_list
    ),
    route!(ec2, CreateNatGatewayRequest, create_nat_gateway::create_nat_gateway),
    route!(ec2, CreateNetworkAclRequest, create_network_acl::create_network_acl),
    route!(ec2, CreateNetworkAclEntryRequest, create_network_acl_entry::create_network_acl_entry),
    route!(ec2, CreateNetworkInterfaceRequest, create_network_interface::create_network_interface),
    route!(ec2, CreateRouteRequest, create_route::create_route),
    route!(ec2, CreateRouteTableRequest, create_route_table::create_route_table),
    route!(ec2, CreateSecurityGroupRequest, create_security_group::create_security_group),
    route!(ec2, CreateSubnetRequest, create_subnet::create_subnet),
    route!(ec2, CreateTagsRequest, create_tags::create_tags),
    route!(
        ec2,
        CreateVpcRequest,
        create_vpc::create_vpc,
        ignores["InstanceTenancy (there are no instances)"]
    ),
    route!(
        ec2,
        CreateVpcEndpointRequest,
        create_vpc_endpoint::create_vpc_endpoint,
        ignores ["PolicyDocument (kept, not enforced)", "PrivateDnsEnabled (kept and shown)"]
    ),
    route!(ec2, DeleteDhcpOptionsRequest, delete_dhcp_options::delete_dhcp_options),
    route!(ec2, DeleteInternetGatewayRequest, delete_internet_gateway::delete_internet_gateway),
    route!(
        ec2,
        DeleteManagedPrefixListRequest,
        delete_managed_prefix_list::delete_managed_prefix_list
    ),
    route!(ec2, DeleteNatGatewayRequest, delete_nat_gateway::delete_nat_gateway),
    route!(ec2, DeleteNetworkAclRequest, delete_network_acl::delete_network_acl),
    route!(ec2, DeleteNetworkAclEntryRequest, delete_network_acl_entry::delete_network_acl_entry),
    route!(ec2, DeleteNetworkInterfaceRequest, delete_network_interface::delete_network_interface),
    route!(ec2, DeleteRouteRequest, delete_route::delete_route),
    route!(ec2, DeleteRouteTableRequest, delete_route_table::delete_route_table),
    route!(ec2, DeleteSecurityGroupRequest, delete_security_group::delete_security_group),
    route!(ec2, DeleteSubnetRequest, delete_subnet::delete_subnet),
    route!(ec2, DeleteTagsRequest, delete_tags::delete_tags),
    route!(ec2, DeleteVpcRequest, delete_vpc::delete_vpc),
    route!(ec2, DeleteVpcEndpointsRequest, delete_vpc_endpoints::delete_vpc_endpoints),
    route!(
        ec2,
        DescribeAccountAttributesRequest,
        describe_account_attributes::describe_account_attributes
    ),
    route!(ec2, DescribeAddressesRequest, describe_addresses::describe_addresses),
    route!(
        ec2,
        DescribeAddressesAttributeRequest,
        describe_addresses_attribute::describe_addresses_attribute
    ),
    route!(
        ec2,
        DescribeAvailabilityZonesRequest,
        describe_availability_zones::describe_availability_zones,
        ignores["AllAvailabilityZones"]
    ),
    route!(ec2, DescribeDhcpOptionsRequest, describe_dhcp_options::describe_dhcp_options),
    route!(
        ec2,
        DescribeInternetGatewaysRequest,
        describe_internet_gateways::describe_internet_gateways
    ),
    route!(
        ec2,
        DescribeManagedPrefixListsRequest,
        describe_managed_prefix_lists::describe_managed_prefix_lists
    ),
    route!(ec2, DescribeNatGatewaysRequest, describe_nat_gateways::describe_nat_gateways),
    route!(ec2, DescribeNetworkAclsRequest, describe_network_acls::describe_network_acls),
    route!(
        ec2,
        DescribeNetworkInterfaceAttributeRequest,
        describe_network_interface_attribute::describe_network_interface_attribute
    ),
    route!(
        ec2,
        DescribeNetworkInterfacesRequest,
        describe_network_interfaces::describe_network_interfaces,
        ignores["IncludeManagedResources"]
    ),
    route!(ec2, DescribePrefixListsRequest, describe_prefix_lists::describe_prefix_lists),
    route!(ec2, DescribeRegionsRequest, describe_regions::describe_regions, ignores["AllRegions"]),
    route!(ec2, DescribeRouteTablesRequest, describe_route_tables::describe_route_tables),
    route!(
        ec2,
        DescribeSecurityGroupReferencesRequest,
        describe_security_group_references::describe_security_group_references
    ),
    route!(
        ec2,
        DescribeSecurityGroupRulesRequest,
        describe_security_group_rules::describe_security_group_rules
    ),
    route!(ec2, DescribeSecurityGroupsRequest, describe_security_groups::describe_security_groups),
    route!(ec2, DescribeSubnetsRequest, describe_subnets::describe_subnets),
    route!(ec2, DescribeTagsRequest, describe_tags::describe_tags),
    route!(ec2, DescribeVpcAttributeRequest, describe_vpc_attribute::describe_vpc_attribute),
    route!(
        ec2,
        DescribeVpcClassicLinkRequest,
        describe_vpc_classic_link::describe_vpc_classic_link
    ),
    route!(
        ec2,
        DescribeVpcClassicLinkDnsSupportRequest,
        describe_vpc_classic_link_dns_support::describe_vpc_classic_link_dns_support
    ),
    route!(
        ec2,
        DescribeVpcEndpointServicesRequest,
        describe_vpc_endpoint_services::describe_vpc_endpoint_services
    ),
    route!(ec2, DescribeVpcEndpointsRequest, describe_vpc_endpoints::describe_vpc_endpoints),
    route!(ec2, DescribeVpcsRequest, describe_vpcs::describe_vpcs),
    route!(ec2, DetachInternetGatewayRequest, detach_internet_gateway::detach_internet_gateway),
    route!(
        ec2,
        DetachNetworkInterfaceRequest,
        detach_network_interface::detach_network_interface,
        ignores["Force"]
    ),
    route!(ec2, DisassociateAddressRequest, disassociate_address::disassociate_address),
    route!(ec2, DisassociateRouteTableRequest, disassociate_route_table::disassociate_route_table),
    route!(
        ec2,
        DisassociateVpcCidrBlockRequest,
        disassociate_vpc_cidr_block::disassociate_vpc_cidr_block
    ),
    route!(
        ec2,
        GetManagedPrefixListEntriesRequest,
        get_managed_prefix_list_entries::get_managed_prefix_list_entries
    ),
    route!(
        ec2,
        GetSecurityGroupsForVpcRequest,
        get_security_groups_for_vpc::get_security_groups_for_vpc
    ),
    route!(
        ec2,
        ModifyManagedPrefixListRequest,
        modify_managed_prefix_list::modify_managed_prefix_list
    ),
    route!(
        ec2,
        ModifyNetworkInterfaceAttributeRequest,
        modify_network_interface_attribute::modify_network_interface_attribute,
        ignores["SourceDestCheck (kept and shown; there are no instances)"]
    ),
    route!(
        ec2,
        ModifySecurityGroupRulesRequest,
        modify_security_group_rules::modify_security_group_rules
    ),
    route!(
        ec2,
        ModifySubnetAttributeRequest,
        modify_subnet_attribute::modify_subnet_attribute,
        ignores [
            "MapPublicIpOnLaunch (there are no instances)",
            "PrivateDnsHostnameTypeOnLaunch (there are no instances)",
        ]
    ),
    route!(
        ec2,
        ModifyVpcAttributeRequest,
        modify_vpc_attribute::modify_vpc_attribute,
        ignores["EnableNetworkAddressUsageMetrics (kept and shown)"]
    ),
    route!(
        ec2,
        ModifyVpcEndpointRequest,
        modify_vpc_endpoint::modify_vpc_endpoint,
        ignores [
            "PolicyDocument (kept, not enforced)",
            "PrivateDnsEnabled (kept and shown)",
            "ResetPolicy",
        ]
    ),
    route!(ec2, ReleaseAddressRequest, release_address::release_address),
    route!(
        ec2,
        ReplaceNetworkAclAssociationRequest,
        replace_network_acl_association::replace_network_acl_association
    ),
    route!(
        ec2,
        ReplaceNetworkAclEntryRequest,
        replace_network_acl_entry::replace_network_acl_entry
    ),
    route!(ec2, ReplaceRouteRequest, replace_route::replace_route),
    route!(
        ec2,
        ReplaceRouteTableAssociationRequest,
        replace_route_table_association::replace_route_table_association
    ),
    route!(
        ec2,
        RevokeSecurityGroupEgressRequest,
        revoke_security_group_egress::revoke_security_group_egress
    ),
    route!(
        ec2,
        RevokeSecurityGroupIngressRequest,
        revoke_security_group_ingress::revoke_security_group_ingress
    ),
    route!(
        ec2,
        UpdateSecurityGroupRuleDescriptionsEgressRequest,
        update_security_group_rule_descriptions_egress::update
    ),
    route!(
        ec2,
        UpdateSecurityGroupRuleDescriptionsIngressRequest,
        update_security_group_rule_descriptions_ingress::update
    ),
];
