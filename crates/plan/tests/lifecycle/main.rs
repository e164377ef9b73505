//! The life of a task's containers: stories that read like ECS's documentation, and an exploration
//! of all orders of events over small graphs.

mod explore;
mod stories;
mod task;
