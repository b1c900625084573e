//! Replays the newest merges of public repositories through the daemon.

use std::process::ExitCode;

use clap::Parser as _;
use yardmaster_bench::{RealHistory, real_history};

#[tokio::main]
async fn main() -> ExitCode {
    match real_history(RealHistory::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(2)
        }
    }
}
