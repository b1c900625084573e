//! The house under faults: `siege [--rounds N] [--seed S] [--only KIND] [--json]`.
//! Each round has a seed; without `--only` it is carried out in all kinds. A failed one tells the arguments that
//! repeat it; its directory is kept. `--points a,b` aims at named points, `--target-deaths N` goes on, with at most
//! `--rounds` rounds, until the daemon has died N times at each of them, or at each there is.
//! `siege --sabotage [NAME]` besieges builds that are broken on purpose, and fails when one is not caught.

use std::process::ExitCode;

use yardmaster_failpoint::Point;
use yardmaster_tests::siege::{
    Broken, Caught, Kind, Plan, RoundEnd, Tally, Workshop, armed_program, broken_builds, disks_can_be_had,
    run,
};

const USAGE: &str = "usage: siege [--rounds N] [--seed S] [--only daemon|nats|remote|network|disk] [--json]\n       \
                     siege [--rounds N] [--seed S] [--points a,b] [--target-deaths N] [--json]\n       \
                     siege --sabotage [NAME]";
/// More than this it does not take to pass every point ten times.
const MOST_ROUNDS: usize = 400;

#[derive(Default)]
struct Arguments {
    rounds: Option<usize>,
    seed: u64,
    only: Option<Kind>,
    points: Vec<Point>,
    deaths: Option<usize>,
    json: bool,
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut parsed = Arguments::default();
    while let Some(flag) = given.next() {
        if flag == "--json" {
            parsed.json = true;
            continue;
        }
        let text = given.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let wrong = || format!("`{text}` is nothing that {flag} takes");
        match flag.as_str() {
            "--rounds" => parsed.rounds = Some(text.parse().map_err(|_| wrong())?),
            "--seed" => parsed.seed = text.parse().map_err(|_| wrong())?,
            "--target-deaths" => parsed.deaths = Some(text.parse().map_err(|_| wrong())?),
            "--points" => {
                let point = |name: &str| Point::ALL.iter().copied().find(|p| p.name() == name);
                let points: Option<Vec<Point>> = text.split(',').map(point).collect();
                parsed.points = points.ok_or_else(wrong)?;
            }
            "--only" => {
                let kind = Kind::ALL.into_iter().find(|k| k.name() == text);
                parsed.only = Some(kind.ok_or_else(wrong)?);
            }
            _ => return Err(format!("{flag} is not known here")),
        }
    }
    let aims = parsed.deaths.is_some() || !parsed.points.is_empty();
    if aims && parsed.only.is_some_and(|kind| kind != Kind::Daemon) {
        return Err("points are aimed at in rounds of the daemon only".into());
    }
    Ok(parsed)
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut given = std::env::args().skip(1);
    if given.next().as_deref() == Some("--sabotage") {
        return sabotage(given.next().as_deref());
    }
    let arguments = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("error: {why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let kinds = match kinds(arguments.only) {
        Ok(kinds) => kinds,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::FAILURE;
        }
    };
    // Before the first round, so that none of them has to wait for it.
    let _ = armed_program();
    let mut tally = Tally::new();
    if arguments.deaths.is_some() || !arguments.points.is_empty() {
        aim(&arguments, &mut tally).await;
    } else {
        for n in 0..arguments.rounds.unwrap_or(7) {
            for kind in &kinds {
                let plan = Plan::new(*kind, arguments.seed.wrapping_add(n as u64));
                tally.add(&carry_out(plan).await);
            }
        }
    }
    if arguments.json {
        println!("{}", tally.to_json());
    } else {
        print!("{tally}");
    }
    let wanted = arguments.deaths.unwrap_or(0);
    let short: Vec<&str> = aimed(&arguments, &tally, wanted).into_iter().map(Point::name).collect();
    if !short.is_empty() {
        eprintln!("error: the daemon died fewer than {wanted} times at {}", short.join(", "));
    }
    if tally.holds() && short.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Without the right to mount, rounds about disks are left out, and that is said; asked for, they fail.
fn kinds(only: Option<Kind>) -> Result<Vec<Kind>, String> {
    let wanted = only.map_or(Kind::ALL.to_vec(), |kind| vec![kind]);
    if !wanted.contains(&Kind::Disk) {
        return Ok(wanted);
    }
    match disks_can_be_had() {
        Ok(()) => Ok(wanted),
        Err(why) if only.is_some() => {
            Err(format!("rounds about disks need the right to mount a tmpfs: {why}"))
        }
        Err(why) => {
            eprintln!("SKIPPED: rounds about disks, which need the right to mount a tmpfs: {why}");
            Ok(wanted.into_iter().filter(|kind| *kind != Kind::Disk).collect())
        }
    }
}

/// The points that are still to be aimed at, the furthest behind first.
fn aimed(arguments: &Arguments, tally: &Tally, wanted: usize) -> Vec<Point> {
    let short = tally.short(wanted).into_iter();
    short.filter(|p| arguments.points.is_empty() || arguments.points.contains(p)).collect()
}

async fn aim(arguments: &Arguments, tally: &mut Tally) {
    let most = arguments.rounds.unwrap_or(if arguments.deaths.is_some() { MOST_ROUNDS } else { 1 });
    for n in 0..most {
        let points = match arguments.deaths {
            Some(wanted) => aimed(arguments, tally, wanted),
            None => arguments.points.clone(),
        };
        if points.is_empty() {
            return;
        }
        let plan = Plan::aimed(arguments.seed.wrapping_add(n as u64), &points);
        tally.add(&carry_out(plan).await);
    }
}

/// Whether the judge sees what is broken on purpose.
fn sabotage(only: Option<&str>) -> ExitCode {
    let builds: Vec<Broken> =
        broken_builds().into_iter().filter(|b| only.is_none_or(|name| b.name == name)).collect();
    let workshop = match Workshop::open() {
        Ok(workshop) if !builds.is_empty() => workshop,
        outcome => {
            eprintln!("error: failed to {}", outcome.err().unwrap_or("find a patch of that name".into()));
            return ExitCode::FAILURE;
        }
    };
    let mut all = true;
    for broken in builds {
        let line = match workshop.besiege(&broken) {
            Ok(Caught { rounds: Some(rounds), by, seconds, .. }) => {
                format!("caught in round {rounds} by {} ({seconds:.0} s)", by.join(", "))
            }
            Ok(Caught { seconds, .. }) => format!("NOT CAUGHT ({seconds:.0} s)"),
            Err(why) => format!("failed to {why}"),
        };
        all &= line.starts_with("caught");
        println!("| `{}` | {} | {line} |", broken.name, broken.what);
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A panic of the harness is a failed round, and the next one follows.
async fn carry_out(plan: Plan) -> RoundEnd {
    let end = match tokio::spawn(run(plan.clone())).await {
        Ok(end) => end,
        Err(why) => RoundEnd::broken_off(plan, &why.to_string()),
    };
    tell(&end);
    end
}

fn tell(end: &RoundEnd) {
    let (seed, kind) = (end.plan.seed, end.plan.kind.name());
    let happened = end.faults.iter().filter(|(_, happened)| *happened).count();
    let faults = end.faults.len();
    let seconds = end.took.as_secs_f64();
    eprintln!(
        "seed {seed} {kind}: {happened} of {faults} faults in {seconds:.1} s, {} broken",
        end.violations.len()
    );
    for violation in &end.violations {
        eprintln!("  {:?}: {}", violation.rule, violation.seen);
    }
    if !end.violations.is_empty() {
        eprintln!("  again: {}", end.plan.again());
    }
    if let Some(dir) = &end.dir {
        eprintln!("  kept: {}", dir.display());
    }
}
