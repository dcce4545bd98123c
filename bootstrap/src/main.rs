//! The program `skein`: everything that a person types.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = cli::Cli::parse();
    match cli::run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("skein: {}", cli::one_line(&error));
            ExitCode::FAILURE
        }
    }
}
