//! The queue through its border: every function of it, and what users read.

#![expect(clippy::unwrap_used, reason = "the helpers of tests")]

use serde_json::json;
use yardmaster_protocol::{
    Assembled, Assembly, BlockerKind, BranchName, ChangeSize, CommitId, Entry, Fact, Gate, Inspection,
    IntakeSeq, LandOutcome, MergedBy, Millis, Movement, ObjectId, Pressure, Project, RefusalCode, RequestId,
    RunOutcome, RunReport, Sighting, TreeId,
};
use yardmaster_queue::{Ending, GateRule, Input, Order, Policy, Queue};

struct House {
    queue: Queue,
    policy: Policy,
    journal: Vec<Entry>,
    now: u64,
    messages: u64,
}

fn main_branch() -> BranchName {
    BranchName::new("main").unwrap()
}

fn commit(n: u8) -> CommitId {
    CommitId(ObjectId([n; 20]))
}

fn sighting(tip: CommitId, contains: Vec<CommitId>) -> Sighting {
    Sighting {
        tip,
        tree: TreeId(tip.0),
        movement: Movement::Forward,
        contains,
        project_file: None,
        lost: Vec::new(),
    }
}

impl House {
    fn new(window: u32) -> House {
        let mut policy = Policy::new(main_branch());
        policy.gate = GateRule::Fixed(Gate::command("true"));
        (policy.window_min, policy.window_max) = (1, window);
        let mut house = House { queue: Queue::new(), policy, journal: Vec::new(), now: 0, messages: 0 };
        house.look(None, sighting(commit(1), Vec::new()));
        // The tip is tested by itself.
        house.finish(&RunOutcome::Green);
        house
    }

    fn input(&mut self, input: Input) {
        let step = self.queue.step(Millis(self.now), &self.policy, input);
        self.queue.check().unwrap();
        self.journal.push(step.entry);
    }

    fn look(&mut self, known: Option<CommitId>, sighting: Sighting) {
        self.input(Input::Seen { target: main_branch(), known, sighting, project: Ok(Project::default()) });
    }

    fn message(&mut self, info: &serde_json::Value) -> IntakeSeq {
        self.messages += 1;
        let payload = json!({"type": "ready_to_merge", "merge_info": info}).to_string().into_bytes();
        let intake = IntakeSeq(self.messages);
        self.input(Input::Message {
            intake,
            subject: "work.integration.roy".to_owned(),
            published: Millis(self.now),
            traceparent: None,
            payload,
        });
        intake
    }

    fn announce(&mut self, name: &str, priority: u8, needs: &[&str]) -> RequestId {
        self.announce_for(name, name, priority, needs)
    }

    fn announce_for(&mut self, name: &str, requirement: &str, priority: u8, needs: &[&str]) -> RequestId {
        self.message(&json!({"agent": "roy", "branch": format!("work/{name}"), "requirement": requirement,
            "priority": priority, "depends_on": needs}));
        let request = self.queue.find(&format!("work/{name}")).unwrap();
        let found = Inspection::Pinned {
            head: commit(100 + u8::try_from(request.0).unwrap()),
            merge_base: commit(1),
            size: ChangeSize::default(),
            files: vec![format!("{name}.rs")],
            contained: false,
        };
        self.input(Input::Inspected(vec![(request, found)]));
        request
    }

    /// Merges what the plan asks for: each candidate's id is made of the base's and the head's.
    fn assemble(&mut self) {
        for order in self.queue.plan(&self.policy).orders {
            let Order::Assemble { target, base, specs } = order else { continue };
            let mut on = base;
            let merges = specs
                .iter()
                .map(|spec| {
                    let mut id = on.0.0;
                    id[19] = id[19].wrapping_mul(3).wrapping_add(spec.head.0.0[0]);
                    id[0] = spec.head.0.0[0];
                    let made = CommitId(ObjectId(id));
                    let assembly =
                        Assembly::Clean { commit: made, tree: TreeId(made.0), by: MergedBy::Memory };
                    let merge = Assembled { base: on, request: spec.request, assembly };
                    on = made;
                    merge
                })
                .collect();
            self.input(Input::Assembled { target, merges });
        }
    }

    fn finish(&mut self, outcome: &RunOutcome) {
        let orders = self.queue.plan(&self.policy).orders;
        let jobs = orders.into_iter().filter_map(|o| if let Order::Test(job) = o { Some(job) } else { None });
        for job in jobs {
            self.input(Input::RunEnded(RunReport {
                run: job.run,
                runner: "here/1".to_owned(),
                outcome: outcome.clone(),
                started: Millis(self.now),
                ms: 10,
                steps: Vec::new(),
                skipped: Vec::new(),
            }));
        }
    }

    /// Lands what the plan has ready.
    fn land(&mut self) {
        for order in self.queue.plan(&self.policy).orders {
            let Order::Land { target, landing } = order else { continue };
            let seen = sighting(landing.to, landing.requests.iter().map(|(_, c)| *c).collect());
            let outcome = LandOutcome::Landed { seen };
            self.input(Input::LandEnded { target, to: landing.to, outcome, project: Ok(Project::default()) });
        }
    }

    fn order(&self) -> String {
        let rows = self.queue.overview(Millis(self.now), &self.policy).requests;
        rows.iter().map(|r| r.requirement.to_string()).collect::<Vec<_>>().join(" ")
    }
}

fn red() -> RunOutcome {
    RunOutcome::Red { step: "test".to_owned(), exit_code: Some(1), log_tail: "no".to_owned() }
}

#[test]
fn better_classes_come_first_and_waiting_makes_better() {
    let mut house = House::new(1);
    house.policy.ageing_ms = 10_000;
    house.announce("running", 2, &[]);
    house.announce("ui", 3, &[]);
    house.now = 15_000;
    house.announce("api", 2, &[]);
    house.announce("net", 1, &[]);
    assert_eq!(house.order(), "running net ui api", "the ui has aged into the api's class and is older");
    house.now = 25_000;
    house.announce("late", 1, &[]);
    assert_eq!(house.order(), "running net ui api late", "what waited is as good as new infrastructure");
}

#[test]
fn dependencies_go_before_class_and_unknown_ones_to_the_end() {
    let mut house = House::new(1);
    house.announce("running", 1, &[]);
    house.announce("lost", 1, &["nothing"]);
    house.announce("top", 1, &["base"]);
    house.announce("base", 3, &[]);
    house.announce("other", 2, &[]);
    assert_eq!(house.order(), "running other base top lost");
}

#[test]
fn a_cycle_is_named_in_full() {
    let mut house = House::new(2);
    let a = house.announce("a", 2, &["b"]);
    let b = house.announce("b", 2, &["c"]);
    house.announce("c", 2, &["a"]);
    let view = house.queue.request(b, Millis(0), &house.policy).unwrap();
    assert_eq!(view.row.state, "blocked");
    assert_eq!(view.blockers[0].kind, BlockerKind::Cycle);
    assert_eq!(view.blockers[0].reason, "depends on itself: r2 needs r3 needs r1 needs r2");
    house.input(Input::Withdraw { request: a, by: "jo".to_owned() });
    let view = house.queue.request(b, Millis(0), &house.policy).unwrap();
    assert_eq!(view.blockers[0].kind, BlockerKind::Dependency);
}

#[test]
fn the_window_bounds_what_is_tested_and_a_red_one_halves_it() {
    let mut house = House::new(4);
    for name in ["a", "b", "c", "d", "e"] {
        house.announce(name, 2, &[]);
    }
    house.assemble();
    let view = house.queue.target_views(&house.policy).remove(0);
    assert_eq!((view.window, view.testing, view.pending), (4, 4, 5));
    house.finish(&red());
    let view = house.queue.target_views(&house.policy).remove(0);
    assert_eq!((view.window, view.pending), (2, 4), "one is decided; the others were red on top of it");
}

#[test]
fn what_people_read_follows_a_request_from_message_to_main() {
    let mut house = House::new(2);
    let id = house.announce("a", 2, &[]);
    let view = |house: &House| house.queue.request(id, Millis(house.now), &house.policy).unwrap();
    assert!(house.queue.is_answered(IntakeSeq(1)) && !house.queue.is_answered(IntakeSeq(2)));
    assert_eq!(house.queue.in_custody().collect::<Vec<_>>(), [id]);
    assert_eq!(view(&house).row.state, "assembling");
    house.assemble();
    assert_eq!((view(&house).row.state.as_str(), view(&house).row.position), ("testing", Some(1)));
    house.finish(&RunOutcome::Green);
    assert_eq!(view(&house).row.state, "landing");
    let landing = house.queue.landing_commits(&main_branch());
    assert_eq!(Some(landing[0]), view(&house).candidate);
    let outcome = LandOutcome::Landed { seen: sighting(landing[0], landing.clone()) };
    let project = Ok(Project::default());
    house.input(Input::LandEnded { target: main_branch(), to: landing[0], outcome, project });
    assert_eq!((view(&house).row.state.as_str(), view(&house).commit), ("landed", Some(landing[0])));
    assert_eq!(house.queue.tip(&main_branch()), Some(landing[0]));
    assert_eq!((house.queue.totals(), house.queue.pending()), ((1, 0), 0));
    assert!(matches!(house.queue.ended(id).unwrap().ending, Ending::Landed { .. }));
    assert_eq!(house.queue.find("work/a"), Some(id));
    assert_eq!(house.queue.find("nobody"), None);
    let reply = house.queue.overview(Millis(0), &house.policy);
    assert_eq!((reply.requests.len(), reply.ended.len(), reply.pressure), (0, 1, Pressure::Steady));
}

#[test]
fn a_silent_remote_holds_everything_and_says_so() {
    let mut house = House::new(2);
    assert_eq!(house.queue.hold(&main_branch(), &house.policy), None);
    house.input(Input::RemoteSilent { why: "no route".to_owned() });
    let why = house.queue.hold(&main_branch(), &house.policy).unwrap();
    assert_eq!(why, "the remote does not answer: no route");
    house.look(Some(commit(1)), sighting(commit(1), Vec::new()));
    assert_eq!(house.queue.hold(&main_branch(), &house.policy), None);
    house.policy.gate = GateRule::FromTarget;
    assert!(house.queue.hold(&main_branch(), &house.policy).unwrap().contains("no gate is configured"));
}

#[test]
fn a_look_that_began_before_the_tip_was_known_to_move_is_no_news() {
    let mut house = House::new(2);
    house.look(Some(commit(1)), sighting(commit(2), Vec::new()));
    house.look(Some(commit(1)), sighting(commit(1), Vec::new()));
    assert_eq!(house.queue.tip(&main_branch()), Some(commit(2)));
}

#[test]
fn an_agent_that_floods_is_refused_and_others_are_served() {
    let mut house = House::new(1);
    house.policy.max_pending_per_agent = 3;
    let requests: Vec<RequestId> = (0..3).map(|i| house.announce(&format!("w{i}"), 2, &[])).collect();
    let offer = |agent: &str, name: &str| json!({"agent": agent, "branch": name, "requirement": name});
    let told = |house: &House| match &house.journal.last().unwrap().facts[..] {
        [Fact::Refused { refusal, .. }] => Some(refusal.code),
        [Fact::Announced { .. }, ..] => None,
        other => panic!("{other:?}"),
    };
    house.message(&offer("roy", "w3"));
    assert_eq!(told(&house), Some(RefusalCode::QuotaExceeded));
    house.message(&offer("ann", "a0"));
    assert_eq!(told(&house), None);
    house.input(Input::Withdraw { request: requests[0], by: "roy".to_owned() });
    let bytes = house.queue.to_snapshot().unwrap();
    house.queue = Queue::from_snapshot(&bytes).unwrap();
    house.message(&offer("roy", "w3"));
    assert_eq!(told(&house), None);
    house.message(&offer("roy", "w4"));
    assert_eq!(told(&house), Some(RefusalCode::QuotaExceeded));
}

#[test]
fn agents_are_told_to_stop_when_the_queue_is_long() {
    let mut house = House::new(1);
    for i in 0..9 {
        house.announce(&format!("w{i}"), 2, &[]);
    }
    assert_eq!(house.queue.pressure(&house.policy), Pressure::Stop);
}

#[test]
fn a_clock_that_is_ahead_swallows_no_announcement() {
    let mut house = House::new(1);
    let info = json!({"agent": "roy", "branch": "work/A", "requirement": "A"});
    for request in 1..=2 {
        (house.now, house.messages) = (5_000, request - 1);
        let payload = json!({"type": "ready_to_merge", "merge_info": info}).to_string().into_bytes();
        house.input(Input::Message {
            intake: IntakeSeq(request),
            subject: "work.integration.roy".to_owned(),
            published: Millis(request * 100),
            traceparent: None,
            payload,
        });
        house.input(Input::Inspected(vec![(RequestId(request), Inspection::BranchMissing)]));
    }
    let ends = |id: u64| house.queue.ended(RequestId(id)).map(|e| matches!(e.ending, Ending::Failed { .. }));
    assert_eq!((ends(1), ends(2)), (Some(true), Some(true)), "the second one came after the first had ended");
}

#[test]
fn a_name_stands_for_what_is_still_on_the_target() {
    let mut house = House::new(1);
    let mut tips = Vec::new();
    for branch in ["one", "two"] {
        house.announce_for(branch, "REQ", 2, &[]);
        house.assemble();
        house.finish(&RunOutcome::Green);
        house.land();
        tips.push(house.queue.tip(&main_branch()).unwrap());
    }
    let mut back = sighting(tips[0], Vec::new());
    (back.movement, back.lost) = (Movement::Rewound, vec![tips[1]]);
    house.look(Some(tips[1]), back);
    let waits = house.announce("three", 2, &["REQ"]);
    let never = house.announce("four", 2, &["work/two"]);
    let blockers =
        |house: &House, id| house.queue.request(id, Millis(0), &house.policy).unwrap().blockers.len();
    assert_eq!((blockers(&house, waits), blockers(&house, never)), (0, 1));
}

#[test]
fn a_run_that_is_wanted_again_has_a_new_id() {
    let mut house = House::new(2);
    house.announce("a", 2, &[]);
    house.assemble();
    let run = |house: &House| house.queue.request(RequestId(1), Millis(0), &house.policy).unwrap().run;
    let first = run(&house);
    house.look(Some(commit(1)), sighting(commit(2), Vec::new()));
    house.assemble();
    house.look(Some(commit(2)), sighting(commit(1), Vec::new()));
    assert!(first.is_some() && run(&house).is_some());
    assert_ne!(first, run(&house), "the same candidate, another run");
}

proptest::proptest! {
    #[test]
    fn replay_gives_the_state_that_was_lived(acts in proptest::collection::vec(0u8..9, 1..60)) {
        let mut house = House::new(3);
        for (i, act) in acts.iter().enumerate() {
            house.now += 700;
            match act {
                0..=2 => drop(house.announce(&format!("w{}", i % 7), 1 + act, &[])),
                3 => drop(house.announce(&format!("w{i}"), 2, &["w1"])),
                4 => house.finish(&RunOutcome::Green),
                5 => house.finish(&red()),
                6 => house.look(house.queue.tip(&main_branch()), sighting(commit(2 + act), Vec::new())),
                7 => house.input(Input::Withdraw { request: RequestId(1), by: "jo".to_owned() }),
                _ => house.assemble(),
            }
        }
        let half = house.journal.len() / 2;
        let mut queue = Queue::new();
        house.journal.iter().take(half).for_each(|e| drop(queue.replay(e)));
        let mut queue = Queue::from_snapshot(&queue.to_snapshot().unwrap()).unwrap();
        house.journal.iter().skip(half).for_each(|e| drop(queue.replay(e)));
        proptest::prop_assert_eq!(queue.plan(&house.policy), house.queue.plan(&house.policy));
        proptest::prop_assert_eq!(queue.to_snapshot().unwrap(), house.queue.to_snapshot().unwrap());
    }
}
