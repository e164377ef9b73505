//! The zygote as a program of its own, for this crate's tests; the product's binary has it as a
//! subcommand.

fn main() {
    runtime::zygote_main(std::env::args_os().skip(2));
}
