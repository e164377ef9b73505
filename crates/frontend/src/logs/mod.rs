//! Amazon CloudWatch Logs.

use crate::dispatch::Route;

pub const ROUTES: &[Route] = &[];
