//! `cargo xtask …`: the project's automation, in Rust, so that a laptop and CI run the same lines.
//! Each command is one module with one `run`; what they print is meant to be read by a person who
//! has just broken something, so every refusal says what, where and what to do about it.

mod bench;
mod codegen;
mod deny;
mod shell;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test                everything that must hold: the README's second command, and CI's only one
  tidy                the house rules: import table, sizes, purity, links
  codegen [--check]   write (or compare) the AWS types, from botocore's service models
  deny                licences, banned and doubled crates, by deny.toml
  bench NAME          measure: launch, api, store, idle, images, balancer, network
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = args.split_first() else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let outcome = match command.as_str() {
        "test" => test::run(rest),
        "tidy" => tidy::run(rest),
        "codegen" => codegen::run(rest),
        "deny" => deny::run(rest),
        "bench" => bench::run(rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        unknown => {
            eprintln!("xtask: no command `{unknown}`\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
