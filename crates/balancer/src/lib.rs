//! The load balancer's data plane: listens where the table says, chooses a target for each request
//! and carries it there. It decides by `plan::routes` and by the pure functions of `choose` and
//! `sticky`; it goes on with its last table for as long as nobody gives it another.
//!
//! HTTP/1.1 is read and written here (`head`, `framing`), not by a library: what a smuggler sends
//! must be seen as it was sent, and half of the cost of a request is between the two sockets.
//! HTTP/2 is hyper's. Each worker is a thread with its own event loop, and a connection stays on
//! one worker with its connections to targets, so that no request waits for another's lock.

mod answer;
mod balancer;
mod board;
mod buffer;
mod carried;
mod choose;
mod connection;
mod connection_log;
mod core;
mod counts;
pub mod desync;
mod dial;
mod doors;
mod exchange;
mod forward;
mod framing;
mod group;
mod head;
pub mod health;
mod http1;
mod http2;
mod imposed;
mod incoming;
mod leash;
mod limits;
mod link;
mod listener;
mod log_file;
mod outgoing;
mod patience;
mod record;
mod request;
mod settings;
mod sticky;
pub mod stream;
mod table;
mod target;
mod target_http2;
mod tcp;
mod time;
mod tls;
mod trust;
mod watched;
mod worker;

pub use balancer::{Balancer, Failure};
pub use doors::Doors;
pub use settings::Settings;
