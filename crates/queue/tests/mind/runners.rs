//! What no runner has is told to who needs it.

use yardmaster_protocol::{
    ActionKind, BlockerKind, EventBody, Gate, Label, LinkKind, Millis, RequestId, RunnerName, RunnerOffer,
};
use yardmaster_queue::{BaseRed, GateRule, Input, Policy, Queue, Step};

use crate::support::{merged, policy, runs};

fn needing(labels: &[&str]) -> Policy {
    let mut gate = Gate::command("true");
    gate.steps[0].name = "train".to_owned();
    gate.steps[0].labels = labels.iter().map(|l| (*l).to_owned()).collect();
    gate.steps[0].cpu = 4;
    Policy { gate: GateRule::Fixed(gate), base_red: BaseRed::Ignore, ..policy() }
}

fn offer(name: &str, labels: &[&str]) -> RunnerOffer {
    RunnerOffer {
        labels: labels.iter().map(|l| Label::new(*l).unwrap()).collect(),
        cpu: Some(2),
        mem_bytes: Some(1 << 30),
        runners: vec![RunnerName::new(name).unwrap()],
        here: false,
    }
}

fn seen(queue: &mut Queue, policy: &Policy, at: u64, offers: &[RunnerOffer]) -> Step {
    let step = queue.step(Millis(at), policy, Input::Runners(offers.to_vec()));
    queue.check().unwrap();
    step
}

/// What `blocked` says, for each time that it is published.
fn blocked(step: &Step) -> Vec<Vec<(BlockerKind, String, String)>> {
    let told = step.events.iter().filter_map(|e| match &e.event.body {
        EventBody::MergeBlocked { blockers, .. } => Some(blockers),
        _ => None,
    });
    told.map(|b| b.iter().map(|b| (b.kind, b.reason.clone(), b.until.clone())).collect()).collect()
}

#[test]
fn a_label_that_nobody_has_blocks_until_somebody_comes_who_has_it() {
    let policy = needing(&["gpu", "os=linux"]);
    let mut queue = merged(&policy, 2);
    let asked = runs(&queue, &policy);
    assert_eq!(asked.len(), 1);
    let plain = offer("plain", &["os=linux"]);
    let step = seen(&mut queue, &policy, 20, std::slice::from_ref(&plain));
    let reason = "no runner has label gpu, which step `train` needs; there is `plain` (os=linux)";
    let until = "a runner with label gpu is there: `yardmaster work --label gpu`";
    assert_eq!(blocked(&step), [[(BlockerKind::Runner, reason.to_owned(), until.to_owned())]]);
    assert_eq!(seen(&mut queue, &policy, 21, std::slice::from_ref(&plain)).entry.facts, []);
    assert_eq!(runs(&queue, &policy), asked, "it is asked for all the same");

    let told = queue.explain(RequestId(1), Millis(30), &policy).unwrap();
    assert_eq!(told.chain.len(), 1, "{told:#?}");
    assert_eq!(told.chain[0].kind, LinkKind::Blocked(BlockerKind::Runner));
    assert_eq!(
        (told.actions[0].kind, told.actions[0].command.as_str()),
        (ActionKind::Repair, "yardmaster work --label gpu")
    );
    assert_eq!((told.row.state.as_str(), told.row.note.as_str()), ("blocked", reason));
    let view = queue.overview(Millis(30), &policy).targets.remove(0);
    assert_eq!(view.runner_note, Some(format!("{reason}; until {until}")));

    // Nobody calls it a stall: it waits for somebody outside. And the state is the journal's.
    let days = 3 * 24 * 60 * 60 * 1_000;
    let step = queue.step(Millis(days), &policy, Input::Tick { awake: Millis(0) });
    assert_eq!(step.entry.facts, []);
    let read = Queue::from_snapshot(&queue.to_snapshot().unwrap()).unwrap();
    assert_eq!(read.explain(RequestId(1), Millis(30), &policy), Some(told));

    let step = seen(&mut queue, &policy, days, &[offer("big", &["gpu", "os=linux"]), plain]);
    assert_eq!(step.entry.facts.len(), 2, "it waits for nothing any more: {:?}", step.entry.facts);
    let told = queue.explain(RequestId(1), Millis(days), &policy).unwrap();
    assert_eq!(told.chain[0].kind, LinkKind::Testing);
    // It waited for a runner until now, and that is nothing to blame it for.
    let step = queue.step(Millis(days + 1), &policy, Input::Tick { awake: Millis(0) });
    assert_eq!(step.entry.facts, []);
    // A step that declares more than there is runs all the same.
    let short =
        "step `train` declares cpu = 4 and no runner has more than 2: it gets all that its runner has";
    assert!(told.sentence.ends_with(short), "{}", told.sentence);
}

#[test]
fn nothing_is_said_of_runners_before_anybody_has_looked() {
    let policy = needing(&["gpu"]);
    let mut queue = merged(&policy, 2);
    assert_eq!(queue.overview(Millis(30), &policy).targets[0].runner_note, None);
    let step = seen(&mut queue, &policy, 20, &[]);
    let until = "a runner with label gpu is there: `yardmaster work --label gpu`";
    let told = (BlockerKind::Runner, "no runner is there".to_owned(), until.to_owned());
    assert_eq!(blocked(&step), [[told]]);
    // Each label is there, and nobody has both.
    let policy = needing(&["gpu", "db"]);
    let mut queue = merged(&policy, 2);
    let step = seen(&mut queue, &policy, 20, &[offer("one", &["gpu"]), offer("two", &["db"])]);
    let reason = &blocked(&step)[0][0].1;
    assert!(
        reason.starts_with("no runner has labels db, gpu together; there is `two` (db); `one` (gpu)"),
        "{reason}"
    );
}
