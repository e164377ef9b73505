//! The resolver of VPCs on this instance. Each VPC asks it on sockets in its own network and is
//! told the names of its own addresses and of its own Cloud Map namespaces; everything else is
//! asked of the instance's resolvers. It listens nowhere else, so it is nobody's open resolver.
//!
//! Never an empty answer because a source failed: what is not known is a failure (SERVFAIL), which
//! clients try again, and not an absence (NXDOMAIN), which they remember.
//!
//! The wire format is read and written here (`message`), not by a library: a resolver in front of
//! strangers reads one question, which is sixty lines without a loop that input could hold.

mod limits;
mod message;
mod server;
mod upstream;
mod zone;

pub use message::{Code, Kind, Malformed, Question};
pub use server::{Resolvers, Sockets};
pub use zone::{Place, Resolution, resolve};
