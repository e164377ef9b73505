//! Process 1 for containers that ask for one (`initProcessEnabled`): it starts the program as
//! process 2, passes signals on to it, reaps whatever is orphaned, and ends as the program ended.
//! It is this very process and no extra binary, with the container's user, capabilities and filter.

use super::{CODE_ENGINE, StartFailure};
use crate::sys::process::{self, Fork};

/// Returns in the process that shall become the program.
pub fn fork_program() -> Result<(), StartFailure> {
    // From before the fork on, or the end of a short program would go unseen.
    process::block_signals();
    match process::fork().map_err(StartFailure::at("starting below init"))? {
        Fork::Parent(program) => serve(program),
        Fork::Child => {
            process::reset_signals();
            process::set_parent_death_signal(libc::SIGKILL)
                .map_err(StartFailure::at("parent death signal"))?;
            process::set_session().map_err(StartFailure::at("setsid"))
        }
    }
}

fn serve(program: u32) -> ! {
    // Only the program may hold the output and the socket open.
    let _ = process::close_range(0, u32::MAX);
    let _ = process::set_name(c"neargate-init");
    loop {
        match process::next_signal() {
            Ok(libc::SIGCHLD) => reap(program),
            // The program may be ending; SIGCHLD follows then.
            Ok(signal) => drop(process::kill(program, signal)),
            Err(_) => process::exit(CODE_ENGINE),
        }
    }
}

fn reap(program: u32) {
    while let Ok(Some((pid, ended))) = process::wait_any(false) {
        if pid == program {
            process::exit(ended.code);
        }
    }
}
