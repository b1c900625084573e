use std::fs;
use std::process::ExitCode;

use crate::error::XtaskError;
use crate::paths::Paths;
use crate::{nats, process};

const SUFFIX: &str = "_bench.rs";

/// A program `crates/ROOM/examples/NAME_bench.rs`.
struct Bench {
    room: String,
    name: String,
}

pub(crate) fn run(paths: &Paths, args: &[String]) -> Result<ExitCode, XtaskError> {
    let benches = all(paths)?;
    let Some((name, rest)) = args.split_first() else {
        for bench in benches {
            println!("{} (crates/{})", bench.name, bench.room);
        }
        return Ok(ExitCode::SUCCESS);
    };
    let Some(bench) = benches.iter().find(|bench| bench.name == *name) else {
        return Err(XtaskError::Usage(format!(
            "there is no benchmark `{name}`; `cargo xtask bench` lists them"
        )));
    };
    let server = nats::locate(paths)?;
    let (package, example) = (format!("yardmaster-{}", bench.room), format!("{}_bench", bench.name));
    let mut command =
        paths.cargo(&["run", "--release", "--quiet", "--package", &package, "--example", &example, "--"]);
    process::pass_on(command.args(rest).env("NATS_SERVER", server.path))
}

fn all(paths: &Paths) -> Result<Vec<Bench>, XtaskError> {
    let crates = paths.root.join("crates");
    let mut found = Vec::new();
    for room in fs::read_dir(&crates).map_err(XtaskError::file(&crates))?.flatten() {
        let Ok(examples) = fs::read_dir(room.path().join("examples")) else { continue };
        for example in examples.flatten() {
            let file = example.file_name().to_string_lossy().into_owned();
            if let Some(name) = file.strip_suffix(SUFFIX) {
                let room = room.file_name().to_string_lossy().into_owned();
                found.push(Bench { room, name: name.to_owned() });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
