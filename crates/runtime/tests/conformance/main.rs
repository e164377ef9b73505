//! What a runtime must do. `suite` is written against the trait alone and runs on every
//! implementation; the other modules are about what only a real kernel can show. Needs root and
//! busybox-static; each test has a runtime of its own and leaves nothing, also when it fails.

mod bench;
mod embedded;
mod fake;
mod inside;
mod instances;
mod limits;
mod network;
mod network_docker;
mod network_doors;
mod network_matrix;
mod network_strangers;
mod network_walls;
mod recovery;
mod security;
mod start;
mod storage;
mod suite;
mod volumes;

/// Runs each test of the suite on each runtime.
macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        mod on_embedded {
            $(#[test]
            fn $name() {
                crate::bench::block_on(async {
                    let bench = crate::embedded::Machine::start();
                    crate::suite::$name(&bench).await;
                    bench.finish().await;
                });
            })*
        }
        mod on_fake {
            $(#[test]
            fn $name() {
                crate::bench::block_on(async {
                    crate::suite::$name(&crate::fake::FakeBench::start()).await;
                });
            })*
        }
    };
}

suite!(
    a_container_runs_and_tells_its_exit_code,
    asking_twice_is_asking_once,
    a_restart_is_a_new_attempt,
    a_program_that_is_not_there_is_told_with_a_reason,
    signals_end_containers,
    logs_are_read_in_order_and_acknowledged,
    containers_of_a_task_are_told_apart,
    a_removed_task_is_unknown,
    a_sweep_removes_what_nobody_keeps,
    an_unknown_task_is_a_failure,
    usage_counts_running_containers,
);
