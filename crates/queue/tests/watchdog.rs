//! The watchdog: what should have ended by now is told once, with what it is doing.

#![expect(clippy::unwrap_used, reason = "the helpers of tests")]

use serde_json::json;
use yardmaster_protocol::{
    Assembled, Assembly, BranchName, ChangeSize, CommitId, EventBody, Gate, Inspection, IntakeSeq, MergedBy,
    Millis, Movement, ObjectId, Project, RequestId, RunOutcome, RunReport, Sighting, TreeId,
};
use yardmaster_queue::{BaseRed, GateRule, Input, Order, Policy, Queue, Step};

struct House {
    queue: Queue,
    policy: Policy,
    now: u64,
}

fn commit(n: u8) -> CommitId {
    CommitId(ObjectId([n; 20]))
}

fn told(step: &Step) -> Vec<(&'static str, String)> {
    let notice = |body: &EventBody| match body {
        EventBody::Stalled(notice) | EventBody::Resumed(notice) => notice.why.clone(),
        _ => String::new(),
    };
    step.events.iter().map(|e| (e.event.body.token(), notice(&e.event.body))).collect()
}

impl House {
    /// With a gate that may take 10 s, and whose longest run took 3 s.
    fn new() -> House {
        let main = BranchName::new("main").unwrap();
        let mut policy = Policy::new(main.clone());
        let mut gate = Gate::command("true");
        gate.steps[0].timeout_ms = 10_000;
        policy.gate = GateRule::Fixed(gate);
        (policy.window_min, policy.window_max, policy.max_lost_runs) = (2, 4, 1);
        let mut house = House { queue: Queue::new(), policy, now: 1_000 };
        let sighting = Sighting {
            tip: commit(1),
            tree: TreeId(commit(1).0),
            movement: Movement::First,
            contains: Vec::new(),
            project_file: None,
            lost: Vec::new(),
        };
        house.input(Input::Seen { target: main, known: None, sighting, project: Ok(Project::default()) });
        house.end_runs(&RunOutcome::Green);
        house
    }

    fn input(&mut self, input: Input) -> Step {
        let step = self.queue.step(Millis(self.now), &self.policy, input);
        self.queue.check().unwrap();
        step
    }

    fn tick_at(&mut self, now: u64, awake: u64) -> Vec<(&'static str, String)> {
        self.now = now;
        let step = self.input(Input::Tick { awake: Millis(awake) });
        told(&step)
    }

    fn announce(&mut self, n: u8) {
        let payload = json!({"type": "ready_to_merge", "merge_info": {"agent": "roy", "branch": format!("work/{n}"),
            "requirement": format!("REQ-{n}")}});
        self.input(Input::Message {
            intake: IntakeSeq(n.into()),
            subject: "work.integration.roy".to_owned(),
            published: Millis(self.now),
            traceparent: None,
            payload: payload.to_string().into_bytes(),
        });
    }

    fn pin(&mut self, n: u8) {
        let found = Inspection::Pinned {
            head: commit(100 + n),
            merge_base: commit(1),
            size: ChangeSize::default(),
            files: Vec::new(),
            contained: false,
        };
        self.input(Input::Inspected(vec![(RequestId(n.into()), found)]));
    }

    fn merge(&mut self, n: u8, base: CommitId) {
        let made = commit(200 + n);
        let assembly = Assembly::Clean { commit: made, tree: TreeId(made.0), by: MergedBy::Memory };
        let merge = Assembled { base, request: RequestId(n.into()), assembly };
        self.input(Input::Assembled { target: self.policy.default_target.clone(), merges: vec![merge] });
    }

    fn end_runs(&mut self, outcome: &RunOutcome) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        for order in self.queue.plan(&self.policy).orders {
            let Order::Test(job) = order else { continue };
            let step = self.input(Input::RunEnded(RunReport {
                run: job.run,
                runner: "here/1".to_owned(),
                outcome: outcome.clone(),
                started: Millis(self.now),
                ms: 3_000,
                steps: Vec::new(),
                skipped: Vec::new(),
            }));
            all.extend(told(&step));
        }
        all
    }

    fn window(&self) -> u32 {
        self.queue.target_views(&self.policy)[0].window
    }
}

/// Twice what was seen (6 s), for the candidate and the tip, each once more if a run is lost, and 60 s.
const BOUND: u64 = 6_000 * 2 * 2 + 60_000;

#[test]
fn the_bound_is_made_of_what_was_seen_and_never_of_more_than_the_limits() {
    let mut house = House::new();
    let main = house.policy.default_target.clone();
    assert_eq!(house.queue.progress_bound_ms(&main, &house.policy), BOUND);
    if let GateRule::Fixed(gate) = &mut house.policy.gate {
        gate.steps[0].timeout_ms = 4_000;
    }
    // Another gate, of which nothing was seen.
    assert_eq!(house.queue.progress_bound_ms(&main, &house.policy), 4_000 * 2 * 2 + 60_000);
    house.policy.targets.insert(BranchName::new("next").unwrap());
    assert_eq!(house.queue.progress_bound_ms(&main, &house.policy), 2 * 4_000 * 2 * 2 + 60_000);
}

#[test]
fn a_run_that_never_ends_is_told_once_and_narrows_the_window_until_something_ends() {
    let mut house = House::new();
    house.announce(1);
    house.pin(1);
    house.merge(1, commit(1));
    let since = house.now;
    assert_eq!(house.window(), 4);
    assert_eq!(house.tick_at(since + BOUND, 0), []);
    let stalled = house.tick_at(since + BOUND + 1, 0);
    let [("stalled", why)] = &stalled[..] else { panic!("{stalled:?}") };
    assert!(why.contains("r1 (work/1 by roy) is being tested, attempt 1"), "{why}");
    assert!(why.contains("the gate's limit is 10 s (`yardmaster logs r1-"), "{why}");
    assert_eq!(house.window(), 1);
    assert_eq!(house.tick_at(since + 9 * BOUND, 0), [], "once");
    let red = RunOutcome::Red { step: "gate".to_owned(), exit_code: Some(1), log_tail: String::new() };
    let after = house.end_runs(&red);
    assert!(after.iter().any(|(kind, _)| *kind == "failed"), "{after:?}");
    assert!(after.iter().any(|(kind, _)| *kind == "resumed"), "{after:?}");
    assert_eq!(house.window(), 2, "the least that the policy allows, and then upwards");
}

#[test]
fn a_head_that_nobody_fetches_counts_from_its_announcement() {
    let mut house = House::new();
    house.now = 10 * BOUND;
    house.announce(1);
    assert_eq!(house.tick_at(11 * BOUND, 0), []);
    let stalled = house.tick_at(11 * BOUND + 1, 0);
    assert!(matches!(&stalled[..], [("stalled", why)] if why.contains("the head of r1")), "{stalled:?}");
}

#[test]
fn time_that_we_slept_and_a_remote_that_is_away_do_not_count() {
    let mut house = House::new();
    house.announce(1);
    house.pin(1);
    assert_eq!(house.tick_at(5 * BOUND, 4 * BOUND + 1), []);
    house.input(Input::RemoteSilent { why: "gone".to_owned() });
    assert_eq!(house.tick_at(9 * BOUND, 0), []);
    house.input(Input::Inspected(Vec::new()));
    assert_eq!(house.tick_at(10 * BOUND, 0), []);
    assert_eq!(house.tick_at(10 * BOUND + 1, 0).len(), 1);
}

#[test]
fn an_empty_queue_and_one_that_waits_for_a_person_are_not_stalled() {
    let mut house = House::new();
    assert_eq!(house.tick_at(9 * BOUND, 0), []);
    house.announce(1);
    house.pin(1);
    let target = house.policy.default_target.clone();
    house.input(Input::Freeze { target: target.clone(), who: "jo".to_owned(), why: "a release".to_owned() });
    assert_eq!(house.tick_at(99 * BOUND, 0), []);
    house.input(Input::Unfreeze { target, who: "jo".to_owned(), why: "done".to_owned() });
    assert_eq!(house.tick_at(100 * BOUND, 0), []);
    assert_eq!(house.tick_at(100 * BOUND + 1, 0).len(), 1);
}

/// With `block` everybody waits for a push from outside.
#[test]
fn a_target_that_a_red_tip_closes_is_not_stalled() {
    let mut house = House::new();
    house.policy.base_red = BaseRed::Block;
    let sighting = Sighting {
        tip: commit(2),
        tree: TreeId(commit(2).0),
        movement: Movement::Forward,
        contains: Vec::new(),
        project_file: None,
        lost: Vec::new(),
    };
    let target = house.policy.default_target.clone();
    house.input(Input::Seen { target, known: Some(commit(1)), sighting, project: Ok(Project::default()) });
    let red = RunOutcome::Red { step: "gate".to_owned(), exit_code: Some(1), log_tail: String::new() };
    house.end_runs(&red);
    house.announce(1);
    house.pin(1);
    assert_eq!(house.tick_at(99 * BOUND, 0), []);
}

#[test]
fn a_clock_that_was_set_back_is_no_stall() {
    let mut house = House::new();
    house.now = 10_000_000;
    house.announce(1);
    house.pin(1);
    house.merge(1, commit(1));
    assert_eq!(house.tick_at(2_000, 1_500), [], "it is tested for half a second by the clock as it is now");
}
