//! Measures the daemon beside the plain tools.

use std::process::ExitCode;

use clap::Parser as _;
use yardmaster_bench::{Figures, figures};

#[tokio::main]
async fn main() -> ExitCode {
    match figures(Figures::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}
