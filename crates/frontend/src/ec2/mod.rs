//! Amazon EC2: the network as ECS users need to see it.

use crate::dispatch::Route;

pub const ROUTES: &[Route] = &[];
