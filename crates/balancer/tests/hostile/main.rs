//! What a load balancer on the open internet meets: requests that are two requests to somebody,
//! clients that take their time, frames that no client would send. Each has its own oracle: no
//! backend sees what nobody sent it, good traffic goes on, nothing grows without bound.

mod backends;
mod frames;
mod hpack;
mod rig;
mod slow;
mod smuggling;
