//! Exists so that everybody, CI included, runs the project's own work by one command: `cargo xtask`.
//! It needs git, a Rust toolchain and nothing else that it cannot get itself.

mod bench;
mod check;
mod deploy;
mod dockerfile;
mod error;
mod kubernetes;
mod nats;
mod paths;
mod process;
mod schemas;
mod tools;
mod version;

use std::process::ExitCode;

use error::XtaskError;
use paths::Paths;

type Outcome = Result<ExitCode, XtaskError>;

struct Task {
    name: &'static str,
    usage: &'static str,
    what: &'static str,
    run: fn(&Paths, &[String]) -> Outcome,
}

const TASKS: &[Task] = &[
    Task {
        name: "demo", usage: "[ARGS…]", what: "show the whole thing working, on this machine", run: demo
    },
    Task {
        name: "test",
        usage: "[--fail-fast] [--advisories] [--seeds N] [--list] [STEP…]",
        what: "everything that CI checks, or only the named steps",
        run: check::run,
    },
    Task { name: "nats", usage: "", what: "find or get a NATS server, print its path", run: server_path },
    Task {
        name: "schemas",
        usage: "[--check]",
        what: "write docs/protocol/*.json from the types of the protocol",
        run: schemas::run,
    },
    Task { name: "sim", usage: "[ARGS…]", what: "run the simulator; ARGS are its own", run: simulator },
    Task {
        name: "bench",
        usage: "[NAME [ARGS…]]",
        what: "run a benchmark on the real thing; without NAME: list them",
        run: bench::run,
    },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first() else {
        eprint!("{}", help());
        return ExitCode::from(2);
    };
    if matches!(name.as_str(), "--help" | "-h" | "help") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let outcome = match TASKS.iter().find(|task| task.name == name) {
        Some(task) => (task.run)(&Paths::here(), rest),
        None => Err(XtaskError::Usage(format!("there is no command `{name}`"))),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: failed to {error}");
        ExitCode::from(if matches!(error, XtaskError::Usage(_)) { 2 } else { 1 })
    })
}

fn help() -> String {
    let mut text = "usage: cargo xtask COMMAND [ARGS…]\n\n".to_owned();
    for task in TASKS {
        text.push_str(&format!("  {} {}\n      {}\n", task.name, task.usage, task.what));
    }
    text
}

fn demo(paths: &Paths, args: &[String]) -> Outcome {
    let server = nats::locate(paths)?;
    eprintln!("xtask: building yardmaster (release; the first time takes some minutes)");
    process::run(&mut paths.cargo(&["build", "--release", "--quiet", "--package", "yardmaster"]))?;
    let binary = paths.target.join("release").join("yardmaster");
    eprintln!("xtask: yardmaster demo {}", args.join(" "));
    let mut command = std::process::Command::new(binary);
    process::pass_on(command.arg("demo").args(args).env("NATS_SERVER", &server.path))
}

fn server_path(paths: &Paths, args: &[String]) -> Outcome {
    if let Some(extra) = args.first() {
        return Err(XtaskError::Usage(format!("`nats` takes none, not `{extra}`")));
    }
    println!("{}", nats::locate(paths)?.path.display());
    Ok(ExitCode::SUCCESS)
}

fn simulator(paths: &Paths, args: &[String]) -> Outcome {
    let mut command = paths.cargo(&["run", "--release", "--quiet", "--package", "yardmaster-sim", "--"]);
    process::pass_on(command.args(args))
}

#[cfg(test)]
mod tests {
    use super::{TASKS, help};

    #[test]
    fn help_names_every_command_once() {
        let text = help();
        for task in TASKS {
            assert_eq!(text.matches(&format!("\n  {} ", task.name)).count(), 1, "{} in\n{text}", task.name);
        }
    }
}
