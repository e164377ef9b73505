//! The data plane as clients and targets see it, on loopback. One program, so that what the tests
//! share is compiled once, and a helper that none of them uses any more is seen.

mod answers;
mod headers;
mod secure;
mod streams;
mod tables;
mod walk;
mod world;
