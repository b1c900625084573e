//! The house under kills: `siege [--rounds N] [--seed S] [--only daemon|nats|remote] [--json]`.
//! Each round has a seed; without `--only` it is carried out in all three kinds. A failed one is repeated with its
//! seed, its kind and `--rounds 1`; its directory is kept.

use std::process::ExitCode;

use yardmaster_tests::siege::{Kind, Plan, RoundEnd, Tally, armed_program, run};

struct Arguments {
    rounds: usize,
    seed: u64,
    only: Option<Kind>,
    json: bool,
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut parsed = Arguments { rounds: 7, seed: 0, only: None, json: false };
    while let Some(flag) = given.next() {
        if flag == "--json" {
            parsed.json = true;
            continue;
        }
        let text = given.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let wrong = || format!("`{text}` is nothing that {flag} takes");
        match flag.as_str() {
            "--rounds" => parsed.rounds = text.parse().map_err(|_| wrong())?,
            "--seed" => parsed.seed = text.parse().map_err(|_| wrong())?,
            "--only" => {
                let kind = Kind::ALL.into_iter().find(|k| k.name() == text);
                parsed.only = Some(kind.ok_or_else(wrong)?);
            }
            _ => return Err(format!("{flag} is not known here")),
        }
    }
    Ok(parsed)
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!(
                "error: {why}\nusage: siege [--rounds N] [--seed S] [--only daemon|nats|remote] [--json]"
            );
            return ExitCode::from(2);
        }
    };
    // Before the first round, so that none of them has to wait for it.
    let _ = armed_program();
    let mut tally = Tally::new();
    for n in 0..arguments.rounds {
        let seed = arguments.seed.wrapping_add(n as u64);
        for kind in arguments.only.as_ref().map_or(&Kind::ALL[..], std::slice::from_ref) {
            let end = carry_out(Plan::new(*kind, seed)).await;
            tell(&end);
            tally.add(&end);
        }
    }
    if arguments.json {
        println!("{}", tally.to_json());
    } else {
        print!("{tally}");
    }
    if tally.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A panic of the harness is a failed round, and the next one follows.
async fn carry_out(plan: Plan) -> RoundEnd {
    match tokio::spawn(run(plan.clone())).await {
        Ok(end) => end,
        Err(why) => RoundEnd::broken_off(plan, &why.to_string()),
    }
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
    if let Some(dir) = &end.dir {
        eprintln!("  kept: {}", dir.display());
    }
}
