use serde_json::{Value, json};

use super::Chance;
use super::record::{Announced, Expected};
use crate::{Change, House, PROJECT, announcement};

/// Green, unless there is a file `red`, or both halves of the pair are there.
const GATE: &str = "#!/bin/sh\n[ -n \"$SIEGE_AGAIN\" ] || sleep 0.0$((30 + $$ % 50))\n\
    [ ! -e red ] || exit 1\nif [ -e pair/a ] && [ -e pair/b ]; then exit 1; fi\n";

/// Deleted once it is in custody.
pub(crate) const DELETED: &str = "cy/deleted";
/// Rewritten once it is in custody, to something red.
pub(crate) const REWRITTEN: &str = "cy/rewritten";

/// One message of an agent.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) agent: &'static str,
    pub(crate) message: Value,
}

/// What agents do in a round, and how it has to end.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) acts: Vec<Act>,
    pub(crate) announced: Vec<Announced>,
}

fn shared() -> String {
    (0..60).map(|n| format!("line {n}\n")).collect()
}

fn shared_with(at: usize, line: &str) -> String {
    (0..60).map(|n| if n == at { format!("{line}\n") } else { format!("line {n}\n") }).collect()
}

/// A house with what the branches of a round start from.
pub(crate) async fn house() -> House {
    let shared = shared();
    let files = [
        ("gate.sh", GATE),
        (".yardmaster.toml", PROJECT),
        ("shared.txt", shared.as_str()),
        ("one-line.txt", "nobody\n"),
    ];
    House::build_with(&files).await
}

struct Work {
    branch: String,
    path: String,
    text: String,
    line: String,
    expected: Expected,
}

fn work(branch: &str, path: &str, line: &str, expected: Expected) -> Work {
    let text = format!("{line}\n");
    Work { branch: branch.into(), path: path.into(), text, line: line.into(), expected }
}

fn works(plain: usize) -> Vec<Work> {
    let own = |n: &str| work(&format!("ann/{n}"), &format!("{n}.txt"), n, Expected::Lands);
    let either = |n: &str, path: &str, other: &str, cause| {
        work(&format!("bob/{n}"), path, n, Expected::EitherOr(format!("bob/{other}"), cause))
    };
    let overlap = |n: &str, at: usize| Work {
        text: shared_with(at, n),
        ..work(&format!("cy/{n}"), "shared.txt", n, Expected::Lands)
    };
    let mut works: Vec<Work> = (0..plain).map(|n| own(&format!("plain-{n}"))).collect();
    works.extend([
        own("twice"),
        own("first"),
        work("ann/second", "second.txt", "second", Expected::LandsAfter("ann/first".into())),
        work("bob/red", "red", "red", Expected::Fails("gate_red")),
        either("pair-a", "pair/a", "pair-b", "gate_red"),
        either("pair-b", "pair/b", "pair-a", "gate_red"),
        either("text-a", "one-line.txt", "text-b", "conflict"),
        either("text-b", "one-line.txt", "text-a", "conflict"),
        overlap("top", 5),
        overlap("bottom", 50),
        work("cy/back", "back.txt", "back", Expected::Withdrawn),
        work(DELETED, "deleted.txt", "deleted", Expected::Lands),
        work(REWRITTEN, "rewritten.txt", "rewritten", Expected::Lands),
    ]);
    works
}

impl Workload {
    /// Makes the branches, and says who announces what and when.
    pub(crate) fn prepare(house: &House, chance: &mut Chance, remote_is_sound: bool) -> Workload {
        let works = works(6);
        let files: Vec<[(&str, Option<&str>); 1]> =
            works.iter().map(|w| [(w.path.as_str(), Some(w.text.as_str()))]).collect();
        let changes: Vec<Change<'_>> = works
            .iter()
            .zip(&files)
            .map(|(w, files)| Change { branch: &w.branch, from: Some("main"), files })
            .collect();
        house.remote.commits(&changes);
        let mut turns: Vec<Vec<Act>> = works.iter().map(|w| acts(&w.branch)).collect();
        chance.shuffle(&mut turns);
        if !remote_is_sound {
            announce_before_its_need(&mut turns);
        }
        let acts = turns.into_iter().flatten().collect();
        let announced = works
            .into_iter()
            .map(|w| Announced { branch: w.branch, path: w.path, line: w.line, expected: w.expected })
            .collect();
        Workload { acts, announced }
    }
}

/// Where the remote may refuse `ann/first`, `ann/second` has to be there by then: announced after the failure of
/// what it depends on it would wait, rightly, until that is announced again.
fn announce_before_its_need(turns: &mut [Vec<Act>]) {
    let place = |branch: &str| {
        let about = |turn: &Vec<Act>| turn[0].message["merge_info"]["branch"] == branch;
        turns.iter().position(about)
    };
    if let (Some(first), Some(second)) = (place("ann/first"), place("ann/second"))
        && first < second
    {
        turns.swap(first, second);
    }
}

/// What is sent about a branch, in a row.
fn acts(branch: &str) -> Vec<Act> {
    let agent = match branch.split('/').next() {
        Some("ann") => "ann",
        Some("bob") => "bob",
        _ => "cy",
    };
    let more = if branch == "ann/second" { json!({"depends_on": ["ann/first"]}) } else { json!({}) };
    let announce = Act { agent, message: announcement(agent, branch, &more) };
    match branch {
        "ann/twice" => vec![announce.clone(), announce],
        "cy/back" => {
            let info = json!({"agent": agent, "branch": branch});
            vec![announce, Act { agent, message: json!({"type": "withdraw", "merge_info": info}) }]
        }
        _ => vec![announce],
    }
}
