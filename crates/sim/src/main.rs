//! Runs many histories, or tells one: `yardmaster-sim --seeds 300 [--from N] [--jobs 2] [--json]`, or
//! `--seed N`; or goes through the landing protocol completely, for small bounds: `--exhaustive 1`, or `2`.

mod report;

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use report::Report;
use yardmaster_sim::exhaust::{Case, Explored, cases, explore};
use yardmaster_sim::{History, Outcome, Violation, run};

struct Arguments {
    from: u64,
    seeds: u64,
    jobs: u64,
    one: Option<u64>,
    exhaustive: Option<u64>,
    json: bool,
}

fn main() -> ExitCode {
    match arguments(std::env::args().skip(1)) {
        Err(why) => {
            eprintln!(
                "error: {why}\nusage: yardmaster-sim [--seeds N] [--from N] [--jobs N] [--json] | --seed N | --exhaustive 1|2"
            );
            ExitCode::from(2)
        }
        Ok(Arguments { one: Some(seed), .. }) => tell(seed),
        Ok(Arguments { exhaustive: Some(level), .. }) => explore_all(level),
        Ok(arguments) => run_all(&arguments),
    }
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut parsed = Arguments { from: 0, seeds: 300, jobs: 1, one: None, exhaustive: None, json: false };
    while let Some(flag) = given.next() {
        if flag == "--json" {
            parsed.json = true;
            continue;
        }
        let text = given.next().ok_or_else(|| format!("{flag} needs a number"))?;
        let number: u64 = text.parse().map_err(|_| format!("{flag} needs a number, not `{text}`"))?;
        match flag.as_str() {
            "--seeds" => parsed.seeds = number,
            "--from" => parsed.from = number,
            "--jobs" => parsed.jobs = number.clamp(1, 64),
            "--seed" => parsed.one = Some(number),
            "--exhaustive" => parsed.exhaustive = Some(number),
            _ => return Err(format!("{flag} is not known here")),
        }
    }
    Ok(parsed)
}

/// The history of a seed; a panic of the queue is a violation too.
fn history(seed: u64, told: bool) -> History {
    catch_unwind(|| run(seed, told)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".to_owned());
        History { result: Err(Violation::new("no panic", text)), story: Vec::new(), words: BTreeSet::new() }
    })
}

fn tell(seed: u64) -> ExitCode {
    let History { result, story, .. } = history(seed, true);
    story.iter().for_each(|line| println!("{line}"));
    match result {
        Ok(outcome) => {
            println!("seed {seed}: {outcome:?}");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("seed {seed} broke an invariant: {violation}");
            ExitCode::FAILURE
        }
    }
}

fn run_all(arguments: &Arguments) -> ExitCode {
    let end = arguments.from.saturating_add(arguments.seeds);
    let next = AtomicU64::new(arguments.from);
    let broken = AtomicU64::new(u64::MAX);
    let stop = AtomicBool::new(false);
    let report = Mutex::new(Report::new(arguments.seeds));
    let worker = || {
        let mut total = Outcome::default();
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                break;
            }
            match history(seed, false).result {
                Ok(outcome) => total.add(&outcome),
                Err(_) => {
                    broken.fetch_min(seed, Ordering::Relaxed);
                    stop.store(true, Ordering::Relaxed);
                }
            }
            if let Ok(mut report) = report.lock() {
                report.one_more();
            }
        }
        if let Ok(mut report) = report.lock() {
            report.total.add(&total);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(worker);
        }
    });
    let broken = broken.into_inner();
    if broken != u64::MAX {
        return tell(broken);
    }
    let Ok(report) = report.into_inner() else { return ExitCode::FAILURE };
    println!("{}", if arguments.json { report.json() } else { report.text() });
    ExitCode::SUCCESS
}

/// Goes through every case of a level, until one is broken.
fn explore_all(level: u64) -> ExitCode {
    let started = Instant::now();
    let mut total = Explored::default();
    for case in cases(level) {
        let Case { scenario, faults, sleepers, .. } = case;
        let asleep = if sleepers { ", sleepers stay" } else { "" };
        match explore(&case) {
            Ok(explored) => {
                println!("{}; {faults}{asleep}: {explored}", scenario.told());
                total.add(&explored);
            }
            Err(found) => {
                println!("{}; {faults}{asleep}: {}", scenario.told(), found.violation);
                found.story.iter().enumerate().for_each(|(i, line)| println!("{:>4} {line}", i + 1));
                return ExitCode::FAILURE;
            }
        }
    }
    total.took = started.elapsed();
    println!("all of it: {total}: every invariant held");
    ExitCode::SUCCESS
}
