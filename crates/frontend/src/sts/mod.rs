//! AWS Security Token Service: who calls, and keys of a role for a while.

mod assume_role;
mod get_caller_identity;

use crate::dispatch::{Route, route};

pub const ROUTES: &[Route] = &[
    route!(
        sts,
        AssumeRoleRequest,
        assume_role::assume_role,
        ignores [
            "ExternalId, SerialNumber, TokenCode (trust policies are not asked)",
            "Policy, PolicyArns (policies are not asked)",
            "ProvidedContexts, SourceIdentity, Tags, TransitiveTagKeys",
        ]
    ),
    route!(sts, GetCallerIdentityRequest, get_caller_identity::get_caller_identity),
];
