use yardmaster_protocol::{Millis, RequestId};

use super::facts::{Life, pending};
use crate::Trouble;
use crate::cost::{self, Cost};
use crate::stats::{median, shown, spread};

const PENDING: [usize; 3] = [100, 1_000, 10_000];
/// Lived before, so that there is something to remember: verdicts, and requests that have ended.
const FACTS: usize = 30_000;
/// One in so many depends on the one before it.
const NEEDING: usize = 10;
/// Questions in one round.
const ASKED: usize = 5;

/// What is measured, in milliseconds of processor time a piece.
const ROWS: [&str; 7] = [
    "`plan`",
    "one more announced, in custody and compared",
    "one verdict, landed, the next one stacked and merged",
    "`queue`",
    "`explain` of the last one",
    "`explain` of the first one",
    "a copy of the state",
];

/// What the mind needs, by the number of pending requests, and whether it grows faster than n log n.
pub(super) fn table(rounds: usize) -> Result<String, Trouble> {
    let mut took = [const { Vec::new() }; PENDING.len()];
    for (count, took) in PENDING.into_iter().zip(&mut took) {
        let mut life = pending(count, FACTS, NEEDING)?;
        let mut rows = [const { Vec::new() }; ROWS.len()];
        for round in 0..rounds {
            eprintln!("plan: {count} pending, round {round}");
            rows.iter_mut().zip(measured(&mut life)?).for_each(|(row, ms)| row.push(ms));
        }
        *took = rows.to_vec();
    }
    let mut text = String::from(
        "\n### Planner\n\n| ms of processor time | 100 pending | 1,000 | 10,000 | grows by (n log n: 15.0) | grows by (n log n: 13.3) |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (i, name) in ROWS.into_iter().enumerate() {
        let [few, some, many] =
            [0, 1, 2].map(|n: usize| took.get(n).and_then(|t| t.get(i)).cloned().unwrap_or_default());
        let ratio = |less: &[f64], more: &[f64]| shown(median(more) / median(less).max(f64::EPSILON));
        text.push_str(&format!(
            "| {name} | {} | {} | {} | {} | {} |\n",
            spread(&few),
            spread(&some),
            spread(&many),
            ratio(&few, &some),
            ratio(&some, &many)
        ));
    }
    Ok(text)
}

fn measured(life: &mut Life) -> Result<[f64; ROWS.len()], Trouble> {
    let now = Millis(life.now);
    let order: Vec<RequestId> =
        life.queue.overview(now, &life.policy).requests.iter().map(|row| row.request).collect();
    let front = order.first().copied().ok_or("nothing is pending")?;
    let last = life.queue.in_custody().last().ok_or("nothing is pending")?;
    let explained = |id| ms(ASKED, || drop(life.queue.explain(id, now, &life.policy)));
    let plan = ms(ASKED * 4, || drop(life.queue.plan(&life.policy)))?;
    let queue = ms(ASKED, || drop(life.queue.overview(now, &life.policy)))?;
    let (of_last, of_front) = (explained(last)?, explained(front)?);
    let copy = ms(ASKED, || drop(life.queue.clone()))?;
    let (_, more) = cost::cost(|| (0..ASKED).try_for_each(|_| life.one_more()))?;
    let (_, verdict) = cost::cost(|| (0..ASKED).try_for_each(|_| life.one_verdict()))?;
    let each = |cost: Cost| cost.cpu.as_secs_f64() * 1_000.0 / ASKED as f64;
    Ok([plan, each(more), each(verdict), queue, of_last, of_front, copy])
}

/// Milliseconds of processor time of one of several in a row.
fn ms(times: usize, what: impl Fn()) -> Result<f64, Trouble> {
    let work = || -> Result<(), Trouble> {
        (0..times).for_each(|_| what());
        Ok(())
    };
    let (_, cost) = cost::cost(work)?;
    Ok(cost.cpu.as_secs_f64() * 1_000.0 / times.max(1) as f64)
}
