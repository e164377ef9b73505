//! Security policies of HTTPS listeners: AWS's names with the protocols and ciphers of each. Our
//! balancers speak TLS 1.2 and 1.3 whatever else a policy allows (gap file).
//! Source: Application Load Balancer user guide, "Security policies".

use super::page;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::elbv2;
use wire::elbv2::{ErrorCode, LoadBalancerTypeEnum};

/// What a listener made through the API has when none is given. Source: user guide.
pub const DEFAULT: &str = "ELBSecurityPolicy-2016-08";

const TLS13: &[&str] =
    &["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const GCM: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
];
const CBC_SHA2: &[&str] = &[
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-RSA-AES256-SHA384",
];
const CBC_SHA1: &[&str] = &[
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-ECDSA-AES256-SHA",
];
const RSA_SHA2: &[&str] =
    &["AES128-GCM-SHA256", "AES128-SHA256", "AES256-GCM-SHA384", "AES256-SHA256"];
const RSA_SHA1: &[&str] = &["AES128-SHA", "AES256-SHA"];

/// Name, versions of TLS from the oldest, ciphers.
struct Policy(&'static str, &'static [&'static str], &'static [&'static [&'static str]]);

const SINCE_10: &[&str] = &["TLSv1", "TLSv1.1", "TLSv1.2"];
const SINCE_11: &[&str] = &["TLSv1.1", "TLSv1.2"];
const ONLY_12: &[&str] = &["TLSv1.2"];
const ALL: &[&str] = &["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
const SINCE_11_WITH_13: &[&str] = &["TLSv1.1", "TLSv1.2", "TLSv1.3"];
const SINCE_12: &[&str] = &["TLSv1.2", "TLSv1.3"];
const ONLY_13: &[&str] = &["TLSv1.3"];

const POLICIES: &[Policy] = &[
    Policy("ELBSecurityPolicy-2016-08", SINCE_10, &[GCM, CBC_SHA2, CBC_SHA1, RSA_SHA2, RSA_SHA1]),
    Policy("ELBSecurityPolicy-FS-1-1-2019-08", SINCE_11, &[GCM, CBC_SHA2, CBC_SHA1]),
    Policy("ELBSecurityPolicy-FS-1-2-2019-08", ONLY_12, &[GCM, CBC_SHA2, CBC_SHA1]),
    Policy("ELBSecurityPolicy-FS-1-2-Res-2019-08", ONLY_12, &[GCM, CBC_SHA2]),
    Policy("ELBSecurityPolicy-FS-1-2-Res-2020-10", ONLY_12, &[GCM]),
    Policy("ELBSecurityPolicy-FS-2018-06", SINCE_10, &[GCM, CBC_SHA2, CBC_SHA1]),
    Policy(
        "ELBSecurityPolicy-TLS-1-1-2017-01",
        SINCE_11,
        &[GCM, CBC_SHA2, CBC_SHA1, RSA_SHA2, RSA_SHA1],
    ),
    Policy("ELBSecurityPolicy-TLS-1-2-2017-01", ONLY_12, &[GCM, CBC_SHA2, RSA_SHA2]),
    Policy(
        "ELBSecurityPolicy-TLS-1-2-Ext-2018-06",
        ONLY_12,
        &[GCM, CBC_SHA2, CBC_SHA1, RSA_SHA2, RSA_SHA1],
    ),
    Policy(
        "ELBSecurityPolicy-TLS13-1-0-2021-06",
        ALL,
        &[TLS13, GCM, CBC_SHA2, CBC_SHA1, RSA_SHA2, RSA_SHA1],
    ),
    Policy(
        "ELBSecurityPolicy-TLS13-1-1-2021-06",
        SINCE_11_WITH_13,
        &[TLS13, GCM, CBC_SHA2, CBC_SHA1, RSA_SHA2, RSA_SHA1],
    ),
    Policy("ELBSecurityPolicy-TLS13-1-2-2021-06", SINCE_12, &[TLS13, GCM, CBC_SHA2]),
    Policy("ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06", SINCE_12, &[TLS13, GCM, CBC_SHA2, RSA_SHA2]),
    Policy(
        "ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06",
        SINCE_12,
        &[TLS13, GCM, CBC_SHA2, CBC_SHA1, RSA_SHA2, RSA_SHA1],
    ),
    Policy("ELBSecurityPolicy-TLS13-1-2-Res-2021-06", SINCE_12, &[TLS13, GCM]),
    Policy("ELBSecurityPolicy-TLS13-1-3-2021-06", ONLY_13, &[TLS13]),
];

fn not_found(name: &str) -> Fault {
    ErrorCode::SSLPolicyNotFoundException.fault(format!("SSL policy '{name}' not found"))
}

pub fn check(name: &str) -> Result<(), Fault> {
    match POLICIES.iter().any(|Policy(known, ..)| *known == name) {
        true => Ok(()),
        false => Err(not_found(name)),
    }
}

fn show(Policy(name, protocols, ciphers): &Policy) -> elbv2::SslPolicy {
    let all = ciphers.iter().copied().flatten();
    let ciphers = all.zip(1..).map(|(name, priority)| elbv2::Cipher {
        name: Some((*name).to_owned()),
        priority: Some(priority),
    });
    let owned = |all: &[&str]| Some(all.iter().map(|it| (*it).to_owned()).collect());
    elbv2::SslPolicy {
        ciphers: Some(ciphers.collect()),
        name: Some((*name).to_owned()),
        ssl_protocols: owned(protocols),
        supported_load_balancer_types: owned(&["application", "network"]),
    }
}

pub async fn describe(
    _cx: &Context,
    _caller: &Caller,
    input: elbv2::DescribeSSLPoliciesInput,
) -> Result<elbv2::DescribeSSLPoliciesOutput, Fault> {
    let names = input.names.unwrap_or_default();
    for name in &names {
        check(name)?;
    }
    // Gateway load balancers have none.
    let has = input.load_balancer_type != Some(LoadBalancerTypeEnum::Gateway);
    let wanted = |it: &&Policy| has && (names.is_empty() || names.iter().any(|name| name == it.0));
    let found = POLICIES.iter().filter(wanted).map(show).collect();
    let asked = format!("{names:?}{has}");
    let request = ["DescribeSSLPolicies", asked.as_str()];
    let key = |it: &elbv2::SslPolicy| it.name.clone().unwrap_or_default();
    let (policies, next_marker) =
        page(&request, found, key, input.marker.as_deref(), input.page_size)?;
    Ok(elbv2::DescribeSSLPoliciesOutput { next_marker, ssl_policies: Some(policies) })
}
