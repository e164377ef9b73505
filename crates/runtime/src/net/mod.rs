//! The network of tasks.

pub mod vpc;

use crate::spec::NetworkSpec;
use std::io;
use std::os::fd::OwnedFd;

pub struct Interface {}

impl Interface {
    pub fn release(self) {}
}

pub fn host_side_name(task: &str) -> String {
    format!("t{}", &task[..task.len().min(12)])
}

pub fn attach(
    _network: Option<&NetworkSpec>,
    _vpc: Option<&OwnedFd>,
    _name: &str,
) -> io::Result<Interface> {
    Ok(Interface {})
}
