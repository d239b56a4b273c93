//! The agent's program; everything is in the library.

fn main() -> std::process::ExitCode {
    quorate_agent::cli::main()
}
