//! Bounds of the resolver, with their units.

/// Bytes of an answer over UDP when the question doesn't say. Source: RFC 1035, 4.2.1.
pub const UDP_BYTES_DEFAULT: usize = 512;
/// Bytes of an answer over UDP at most: no fragments on any sensible path. Source: DNS flag day
/// 2020.
pub const UDP_BYTES_MAX: usize = 1232;
/// Bytes of a message over TCP, by its length field.
pub const TCP_BYTES_MAX: usize = 65_535;
/// Questions of one VPC that are asked on at a time; beyond that they fail at once.
pub const FORWARDS_PER_VPC_MAX: usize = 512;
/// TCP connections of one VPC.
pub const CONNECTIONS_PER_VPC_MAX: usize = 256;
/// How long a TCP connection may say nothing, in milliseconds.
pub const IDLE_TIMEOUT_MS: u64 = 10_000;
/// How long one resolver may take to answer before the next is asked, in milliseconds.
pub const UPSTREAM_TIMEOUT_MS: u64 = 1_500;
/// How often all resolvers are gone through.
pub const UPSTREAM_ROUNDS: usize = 2;
/// How long to wait after a socket failed, in milliseconds.
pub const SOCKET_RETRY_MS: u64 = 50;
/// Addresses in one answer of several values. Source: Cloud Map API reference, DnsConfig
/// (RoutingPolicy).
pub const MULTIVALUE_RECORDS_MAX: usize = 8;
/// How long names of addresses are good for, in seconds. Source: Amazon's resolver.
pub const ADDRESS_TTL_SECONDS: u32 = 60;
