use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::error::XtaskError;
use crate::paths::Paths;
use crate::{deploy, nats, process, schemas, tools};

const DEFAULT_SEEDS: u32 = 300;

struct Step {
    name: &'static str,
    what: &'static str,
    run: fn(&Paths, &Options) -> Result<(), XtaskError>,
}

/// Quick ones first, so that a slip is seen at once; those that may have to build a tool last.
const STEPS: &[Step] = &[
    Step { name: "fmt", what: "sources are formatted", run: fmt },
    Step { name: "deploy", what: "deployment files hold together", run: |paths, _| deploy::check(paths) },
    Step {
        name: "schemas",
        what: "docs/protocol/ is what the types say",
        run: |paths, _| schemas::check(paths),
    },
    Step { name: "clippy", what: "lints, warnings are errors", run: clippy },
    Step { name: "tests", what: "unit and end-to-end tests on a real NATS server and real git", run: tests },
    Step { name: "doctests", what: "examples in the documentation run", run: doctests },
    Step { name: "docs", what: "documentation builds, warnings are errors", run: docs },
    Step {
        name: "sim",
        what: "simulated histories, one a seed; every way to land, for small bounds",
        run: sim,
    },
    Step { name: "unused", what: "every dependency is used (cargo-machete)", run: unused },
    Step { name: "deny", what: "licences, bans and sources of dependencies (cargo-deny)", run: deny },
];

#[derive(Debug, PartialEq, Eq)]
struct Options {
    fail_fast: bool,
    advisories: bool,
    list: bool,
    seeds: u32,
    only: Vec<String>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Options, XtaskError> {
        let mut options = Options {
            fail_fast: false,
            advisories: false,
            list: false,
            seeds: DEFAULT_SEEDS,
            only: Vec::new(),
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--fail-fast" => options.fail_fast = true,
                "--advisories" => options.advisories = true,
                "--list" => options.list = true,
                "--seeds" => {
                    let count = args.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
                    options.seeds =
                        count.ok_or_else(|| XtaskError::Usage("`--seeds` takes a number".to_owned()))?;
                }
                name if STEPS.iter().any(|step| step.name == name) => options.only.push(name.to_owned()),
                other => {
                    return Err(XtaskError::Usage(format!(
                        "`test` has no step or option `{other}`; `cargo xtask test --list` names the steps"
                    )));
                }
            }
        }
        Ok(options)
    }

    fn wants(&self, step: &Step) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == step.name)
    }
}

struct Done {
    step: &'static Step,
    took: Duration,
    error: Option<XtaskError>,
}

pub(crate) fn run(paths: &Paths, args: &[String]) -> Result<ExitCode, XtaskError> {
    let options = Options::parse(args)?;
    let wanted: Vec<&Step> = STEPS.iter().filter(|step| options.wants(step)).collect();
    if options.list {
        for step in wanted {
            println!("{:9} {}", step.name, step.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut done = Vec::new();
    for (index, step) in wanted.iter().enumerate() {
        println!("\n=== {}/{} {}: {}", index + 1, wanted.len(), step.name, step.what);
        let started = Instant::now();
        let error = (step.run)(paths, &options).err();
        let took = started.elapsed();
        match &error {
            None => println!("=== {}: passed in {:.1} s", step.name, took.as_secs_f64()),
            Some(error) => {
                println!("=== {}: FAILED in {:.1} s: failed to {error}", step.name, took.as_secs_f64());
            }
        }
        let stop = error.is_some() && options.fail_fast;
        done.push(Done { step, took, error });
        if stop {
            break;
        }
    }
    Ok(summary(&done, wanted.len()))
}

fn summary(done: &[Done], wanted: usize) -> ExitCode {
    let total: f64 = done.iter().map(|d| d.took.as_secs_f64()).sum();
    println!("\n=== summary");
    for d in done {
        let word = if d.error.is_none() { "passed" } else { "FAILED" };
        println!("{word:6} {:>7.1} s  {}", d.took.as_secs_f64(), d.step.name);
    }
    println!("       {total:>7.1} s  in all");
    let failed = done.iter().filter(|d| d.error.is_some()).count();
    let skipped = wanted - done.len();
    let not_run = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
    println!("{} passed, {failed} failed{not_run}", done.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fmt(paths: &Paths, _: &Options) -> Result<(), XtaskError> {
    process::run(&mut paths.cargo(&["fmt", "--all", "--check"]))
}

fn clippy(paths: &Paths, _: &Options) -> Result<(), XtaskError> {
    process::run(&mut paths.cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))
}

fn tests(paths: &Paths, _: &Options) -> Result<(), XtaskError> {
    let server = nats::locate(paths)?;
    let has_nextest = !process::on_path("cargo-nextest").is_empty();
    let words: &[&str] = if has_nextest {
        &["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]
    } else {
        &["test", "--workspace", "--locked", "--no-fail-fast", "--lib", "--bins", "--tests", "--examples"]
    };
    process::run(paths.cargo(words).env("NATS_SERVER", server.path))
}

fn doctests(paths: &Paths, _: &Options) -> Result<(), XtaskError> {
    process::run(&mut paths.cargo(&["test", "--workspace", "--locked", "--doc", "--quiet"]))
}

fn docs(paths: &Paths, _: &Options) -> Result<(), XtaskError> {
    let mut doc = paths.cargo(&["doc", "--workspace", "--no-deps", "--locked", "--quiet"]);
    process::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

fn sim(paths: &Paths, options: &Options) -> Result<(), XtaskError> {
    let seeds = options.seeds.to_string();
    for asked in [["--seeds", &seeds], ["--exhaustive", "1"]] {
        let words = ["run", "--release", "--locked", "--quiet", "--package", "yardmaster-sim", "--"];
        process::run(paths.cargo(&words).args(asked))?;
    }
    Ok(())
}

fn unused(paths: &Paths, _: &Options) -> Result<(), XtaskError> {
    let program = tools::MACHETE.get(paths)?;
    process::run(Command::new(program).arg(".").current_dir(&paths.root))
}

fn deny(paths: &Paths, options: &Options) -> Result<(), XtaskError> {
    let program = tools::DENY.get(paths)?;
    let mut command = Command::new(program);
    command.current_dir(&paths.root).args([
        "--workspace",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]);
    if options.advisories {
        command.arg("advisories");
    }
    process::run(&mut command)
}

#[cfg(test)]
mod tests {
    use super::{Options, STEPS};

    fn parse(words: &[&str]) -> Result<Options, String> {
        let args: Vec<String> = words.iter().map(|&w| w.to_owned()).collect();
        Options::parse(&args).map_err(|e| e.to_string())
    }

    #[test]
    fn without_names_every_step_is_wanted() {
        let options = parse(&[]).expect("no arguments are fine");
        assert!(STEPS.iter().all(|step| options.wants(step)));
        assert_eq!(options.seeds, super::DEFAULT_SEEDS);
    }

    #[test]
    fn names_choose_and_mistakes_are_refused() {
        let options = parse(&["sim", "--seeds", "7", "--fail-fast"]).expect("understood");
        assert_eq!(
            STEPS.iter().filter(|step| options.wants(step)).map(|s| s.name).collect::<Vec<_>>(),
            ["sim"]
        );
        assert_eq!((options.seeds, options.fail_fast), (7, true));
        assert!(parse(&["simulator"]).is_err());
        assert!(parse(&["--seeds", "0"]).is_err());
        assert!(parse(&["--seeds"]).is_err());
    }
}
