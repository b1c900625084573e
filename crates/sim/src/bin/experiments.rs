//! The planner in virtual time, beside what was published: `experiments check|figures|cell …`.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::str::FromStr;

use yardmaster_sim::experiment::{
    Cell, Check, Coming, Fleet, Knowledge, Planner, SHOWN, acceptance, figures, fleets, grid, plot, tables,
};

const USAGE: &str = "usage: experiments check [--seeds N] [--jobs N]
       experiments figures [--seeds N] [--jobs N] [--cells FILE]
                            in the project's root: writes docs/benchmarks.md and docs/img/experiments.svg; goes on with the cells in FILE
       experiments cell [--planner NAME] [--per-hour N] [--workers N] [--false-edges SHARE] [--accuracy SHARE] …
       experiments fleet [--seeds N] [--changes N] [--fails SHARE] [--flake SHARE]      a fleet of agents on few slots: a table
planners: single-queue optimistic speculate-all submit-queue batch-8 oracle patient ours";

struct Options {
    seeds: u64,
    jobs: usize,
    planner: String,
    per_hour: u32,
    workers: usize,
    false_edges: Option<f64>,
    accuracy: f64,
    cells: Option<String>,
    changes: usize,
    fails: f64,
    flake: f64,
}

fn main() -> ExitCode {
    let mut given = std::env::args().skip(1);
    let command = given.next().unwrap_or_default();
    let told = options(given).and_then(|options| match command.as_str() {
        "check" => Ok(check(&options)),
        "figures" => write_figures(&options),
        "cell" => cell(&options),
        "fleet" => Ok(fleet(&options)),
        other => Err(format!("there is no command `{other}`")),
    });
    told.unwrap_or_else(|why| {
        eprintln!("error: {why}\n{USAGE}");
        ExitCode::from(2)
    })
}

fn options(mut given: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        seeds: 10,
        jobs: 2,
        planner: "ours".to_owned(),
        per_hour: 500,
        workers: 100,
        false_edges: None,
        accuracy: 0.97,
        cells: None,
        changes: 2_000,
        fails: 0.08,
        flake: 0.005,
    };
    while let Some(flag) = given.next() {
        let text = given.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--seeds" => options.seeds = value(&flag, &text)?,
            "--jobs" => options.jobs = value(&flag, &text)?,
            "--planner" => options.planner = text,
            "--per-hour" => options.per_hour = value(&flag, &text)?,
            "--workers" => options.workers = value(&flag, &text)?,
            "--changes" => options.changes = value(&flag, &text)?,
            "--fails" => options.fails = value(&flag, &text)?,
            "--flake" => options.flake = value(&flag, &text)?,
            "--cells" => options.cells = Some(text),
            "--false-edges" => options.false_edges = Some(value(&flag, &text)?),
            "--accuracy" => options.accuracy = value(&flag, &text)?,
            _ => return Err(format!("{flag} is not known here")),
        }
    }
    Ok(options)
}

fn value<T: FromStr>(flag: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{flag}: `{text}` is not understood"))
}

fn check(options: &Options) -> ExitCode {
    let checks: Vec<Check> = acceptance(options.seeds, options.jobs);
    checks.iter().for_each(|check| println!("{check}"));
    if checks.iter().all(|c| c.holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fleet(options: &Options) -> ExitCode {
    let &Options { changes, fails, flake, .. } = options;
    let comings = [Coming::Load(0.5), Coming::Load(0.8), Coming::Load(1.5), Coming::Bursts(50)];
    let every = [4, 16].into_iter().flat_map(|slots| comings.map(|coming| (slots, coming)));
    let worlds: Vec<Fleet> =
        every.map(|(slots, coming)| Fleet { slots, coming, changes, fails, flake }).collect();
    print!("{}", fleets(&worlds, options.seeds));
    ExitCode::SUCCESS
}

const PAGE: &str = "docs/benchmarks.md";
const PICTURE: &str = "docs/img/experiments.svg";
const BEGIN: &str = "<!-- experiments: written by a command, do not edit -->\n";
const END: &str = "<!-- end of experiments -->\n";

/// Between the markers of the page; at its end, where it has none.
fn write_figures(options: &Options) -> Result<ExitCode, String> {
    let failed = |what: &str, why: std::io::Error| format!("{what}: {why}: run this in the project's root");
    let page = std::fs::read_to_string(PAGE).map_err(|e| failed(PAGE, e))?;
    let shown = all_cells(options)?;
    let section = format!("{BEGIN}{}{END}", tables(&shown));
    let page = match (page.split_once(BEGIN), page.split_once(END)) {
        (Some((before, _)), Some((_, after))) => format!("{before}{section}{after}"),
        _ => format!("{page}\n{section}"),
    };
    std::fs::create_dir_all("docs/img").map_err(|e| failed("docs/img", e))?;
    std::fs::write(PICTURE, plot(&shown)).map_err(|e| failed(PICTURE, e))?;
    std::fs::write(PAGE, page).map_err(|e| failed(PAGE, e))?;
    println!("wrote {PAGE} and {PICTURE}");
    Ok(ExitCode::SUCCESS)
}

/// Those in the file are taken from there, and all others added to it as they are done: an hour's work can be broken off.
fn all_cells(options: &Options) -> Result<Vec<Vec<Cell>>, String> {
    let Some(file) = &options.cells else {
        return Ok(figures(&SHOWN, options.seeds, options.jobs, &[], &mut |_| ()));
    };
    let failed = |why: &dyn std::fmt::Display| format!("{file}: {why}");
    let open = OpenOptions::new().create(true).read(true).append(true).open(file);
    let mut open = open.map_err(|e| failed(&e))?;
    let mut known = String::new();
    open.read_to_string(&mut known).map_err(|e| failed(&e))?;
    let known: Result<Vec<Cell>, _> = known.lines().map(serde_json::from_str).collect();
    let known = known.map_err(|e| failed(&e))?;
    let mut written = Ok(());
    let mut keep = |cell: &Cell| {
        let line = serde_json::to_string(cell).map_err(std::io::Error::other);
        let line = line.and_then(|line| writeln!(open, "{line}"));
        written = std::mem::replace(&mut written, Ok(())).and(line);
    };
    let shown = figures(&SHOWN, options.seeds, options.jobs, &known, &mut keep);
    written.map_err(|e| failed(&e))?;
    Ok(shown)
}

fn cell(options: &Options) -> Result<ExitCode, String> {
    let planner = match options.planner.as_str() {
        "single-queue" => Planner::SingleQueue,
        "optimistic" => Planner::Optimistic,
        "speculate-all" => Planner::SpeculateAll,
        "submit-queue" => Planner::SubmitQueue,
        "oracle" => Planner::OracleWorkers,
        "patient" => {
            Planner::Patient(Knowledge { false_edges: options.false_edges, accuracy: options.accuracy })
        }
        "ours" => Planner::Ours(Knowledge { false_edges: options.false_edges, accuracy: options.accuracy }),
        other => match other.strip_prefix("batch-") {
            Some(most) => Planner::Batch(value("--planner", most)?),
            None => return Err(format!("there is no planner `{other}`")),
        },
    };
    for cell in grid(&[(planner, options.per_hour, options.workers)], options.seeds, options.jobs) {
        let (p50, p99, builds) = (cell.mean(|r| r.p50), cell.mean(|r| r.p99), cell.mean(|r| r.builds));
        println!("{}, {} an hour, {} workers", planner.name(), cell.per_hour, cell.workers);
        println!(
            "P50 {:.2} ± {:.2}, P99 {:.2} ± {:.2}, builds {:.2}",
            p50.value, p50.half, p99.value, p99.half, builds.value
        );
        for (seed, run) in cell.runs.iter().enumerate() {
            println!("seed {seed}: {run:?}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
