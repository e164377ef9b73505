//! The API from outside: signed HTTP requests go into the handler, replies come out. The store is
//! in memory, the clock and the ids are the tests' own; everything between is what runs in
//! production.

mod clusters;
mod definitions;
mod endpoint;
mod gap;
mod pipeline;
mod race;
mod robust;
mod settings;
mod tags;
mod tasks;
