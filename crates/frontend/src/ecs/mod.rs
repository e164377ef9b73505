//! Amazon Elastic Container Service.

mod names;
mod page;
mod size;

use crate::dispatch::Route;

pub const ROUTES: &[Route] = &[];
