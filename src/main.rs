//! The `viva` program.

fn main() -> std::process::ExitCode {
    viva::cli::run()
}
