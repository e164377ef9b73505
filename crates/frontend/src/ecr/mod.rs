//! Amazon Elastic Container Registry's control plane; pushing and pulling is crate registry's.

use crate::dispatch::Route;

pub const ROUTES: &[Route] = &[];
