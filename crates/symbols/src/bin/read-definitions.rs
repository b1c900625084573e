//! A program that does nothing but read definitions.

use std::process::ExitCode;

fn main() -> ExitCode {
    yardmaster_symbols::serve_child()
}
