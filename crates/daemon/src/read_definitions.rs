use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};

use yardmaster_symbols::{Reader, serve_child};

/// The argument that makes our program a child that reads definitions.
const COMMAND: &str = "read-definitions";

/// One child for all targets.
pub(crate) type SharedReader = Arc<Mutex<Reader>>;

/// Reads definitions for a daemon, on standard input and output, until that is closed. The daemon starts the program
/// that it is itself with `read-definitions` for it; whoever embeds [`crate::serve`] in another program calls this
/// there, or goes without definitions.
pub fn read_definitions() -> ExitCode {
    serve_child()
}

pub(crate) fn shared_reader() -> SharedReader {
    // What cannot be named cannot be started, and is told then.
    let program = own_program().unwrap_or_default();
    let mut command = Command::new(program);
    command.arg0("yardmaster").arg(COMMAND);
    Arc::new(Mutex::new(Reader::new(command)))
}

/// On Linux by what runs, not by its name: a new version may have taken that meanwhile.
fn own_program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok(PathBuf::from("/proc/self/exe")) } else { std::env::current_exe() }
}
