use std::time::Instant;

use yardmaster_symbols::{Clash, Kind, meet};

use super::branches::{Branch, Branches};
use crate::stats::{median, rate, shown};
use crate::{Trouble, git};

const KINDS: [Kind; 4] = [Kind::RemovedAndUsed, Kind::BothAdded, Kind::ChangedAndUsed, Kind::BothChanged];

/// So many pairs at the most are merged by git, spread evenly.
const MERGED: usize = 2_000;

pub(super) fn heading(window: usize) -> String {
    format!(
        "\n### Advice about definitions: cost, and how often it is given\n\nThe newest {window} merged branches of each repository. Milliseconds of one change: to read its files and to compare them. Beside: pairs that were written without each other, and landed both. Of these, at most {MERGED} spread evenly: pairs that merge cleanly and are told, by kind: a pair may be of several.\n\n| repository, branches | read, median | compare, median | p99 | most | pairs in a second | pairs beside | clean | told | removed and used | both added | changed and used | both changed |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    )
}

pub(super) fn row(branches: &Branches) -> Result<String, Trouble> {
    let list = &branches.list;
    let read: Vec<f64> = list.iter().map(|b| b.read_ms).collect();
    let mut compare: Vec<f64> = list.iter().map(|b| b.compare_ms).collect();
    compare.sort_by(f64::total_cmp);
    let at = |share: f64| compare.get((compare.len() as f64 * share) as usize).copied().unwrap_or_default();
    let started = Instant::now();
    let mut pairs = 0;
    let mut beside: Vec<(&Branch, &Branch, Vec<Clash>)> = Vec::new();
    for (i, newer) in list.iter().enumerate() {
        for older in list.iter().skip(i + 1) {
            let clashes = meet(&older.api, &newer.api);
            pairs += 1;
            if older.is_beside(newer) {
                beside.push((older, newer, clashes));
            }
        }
    }
    let a_second = rate(pairs, started.elapsed());
    let all_beside = beside.len();
    let every = all_beside.div_ceil(MERGED).max(1);
    let beside: Vec<_> = beside.into_iter().step_by(every).collect();
    let heads: Vec<_> = beside.iter().map(|(older, newer, _)| (older.head, newer.head)).collect();
    let trees = git::merge_trees(branches.mirror.path(), &heads)?;
    let clean: Vec<_> =
        beside.iter().zip(trees).filter(|(_, tree)| tree.is_some()).map(|(pair, _)| pair).collect();
    examples(&clean);
    let told = |kind: Option<Kind>| {
        let one = |c: &Clash| kind.is_none_or(|kind| c.kind == kind);
        let count = clean.iter().filter(|(_, _, clashes)| clashes.iter().any(one)).count();
        format!("{count} ({:.2} %)", 100.0 * count as f64 / clean.len().max(1) as f64)
    };
    let kinds: Vec<String> = KINDS.iter().map(|kind| told(Some(*kind))).collect();
    Ok(format!(
        "| {}, {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        branches.repository.display(),
        list.len(),
        shown(median(&read)),
        shown(median(&compare)),
        shown(at(0.99)),
        shown(compare.last().copied().unwrap_or_default()),
        shown(a_second),
        all_beside,
        clean.len(),
        told(None),
        kinds.join(" | "),
    ))
}

/// To be read by a person: what was told although both landed.
fn examples(clean: &[&(&Branch, &Branch, Vec<Clash>)]) {
    for kind in KINDS {
        for (older, newer, clashes) in clean.iter().filter(|(.., c)| c.iter().any(|c| c.kind == kind)).take(8)
        {
            let Some(clash) = clashes.iter().find(|c| c.kind == kind) else { continue };
            eprintln!("  {:.10} {:.10} {clash:?}", older.head.to_string(), newer.head.to_string());
        }
    }
}
