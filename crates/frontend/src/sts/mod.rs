//! AWS Security Token Service, as far as it is needed to say who calls.

mod get_caller_identity;

use crate::dispatch::{Route, route};

pub const ROUTES: &[Route] =
    &[route!(sts, GetCallerIdentityRequest, get_caller_identity::get_caller_identity)];
