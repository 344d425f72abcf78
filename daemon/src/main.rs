//! The `runsync` program: arguments → command → exit code.

fn main() -> std::process::ExitCode {
    runsync::cli::main()
}
