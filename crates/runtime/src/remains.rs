//! Takes away what a task leaves in the kernel and on the disk. Used by its supervisor when it is
//! asked to, and by the agent when there is no supervisor any more; doing it twice is doing it
//! once.

use crate::cgroup::Cgroups;
use crate::storage;
use std::fs;
use std::io;
use std::path::Path;

/// Kills what still runs of a task, removes its control groups and its folder. The folder is what
/// says that the task was ever made, so it goes last.
pub fn remove(cgroups: &Cgroups, tasks: &Path, task: &str) -> io::Result<()> {
    cgroups.remove_task(task)?;
    let folder = tasks.join(task);
    storage::forget(&folder)?;
    remove_folder(&folder)
}

/// Removes a folder with all that is in it; no failure when it isn't there.
pub fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
