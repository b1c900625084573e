use serde_json::json;
use yardmaster_protocol::{
    Assembled, Assembly, CommitId, Fact, Gate, Independence, LandOutcome, MergedBy, Millis, Movement,
    Project, RequestId, RunId, RunOutcome, Sighting, TreeId,
};
use yardmaster_queue::{BaseRed, GateRule, Input, Order, Policy, Queue, Step};

use crate::support::{announce, commit, end, main_branch, pin, policy, queue, red, runs, see};

fn wide() -> Policy {
    let gate = GateRule::Fixed(Gate::command("true"));
    Policy { gate, window_min: 4, window_max: 4, base_red: BaseRed::Ignore, ..policy() }
}

fn declared(by: Independence) -> Result<Project, String> {
    Ok(Project { independence: by, ..Project::default() })
}

/// Does all merges that are asked for: a commit is named by what it stands on and whose it is.
fn merge(queue: &mut Queue, policy: &Policy) -> Vec<Step> {
    let mut steps = Vec::new();
    for order in queue.plan(policy).orders {
        let Order::Assemble { target, base, specs } = order else { continue };
        let mut on = base;
        let merges = specs.into_iter().map(|spec| {
            let id = u8::try_from(spec.request.0).unwrap();
            let made =
                CommitId(yardmaster_protocol::ObjectId([on.0.0[0].wrapping_mul(7).wrapping_add(id); 20]));
            let assembly = Assembly::Clean { commit: made, tree: TreeId(made.0), by: MergedBy::Memory };
            Assembled { base: std::mem::replace(&mut on, made), request: spec.request, assembly }
        });
        let merges = merges.collect();
        steps.push(queue.step(Millis(20), policy, Input::Assembled { target, merges }));
    }
    steps
}

fn started(queue: &mut Queue, policy: &Policy, by: Independence) {
    see(queue, policy, 2, declared(by));
    for (n, files) in [(1, "a"), (2, "b"), (3, "a")] {
        announce(queue, policy, n.into(), &json!({}));
        pin(queue, policy, n, &[files]);
    }
    (0..3).for_each(|_| drop(merge(queue, policy)));
}

fn tested(queue: &Queue, policy: &Policy) -> Vec<u64> {
    runs(queue, policy).into_iter().filter_map(|(r, _)| Some(r?.0)).collect()
}

fn finish(queue: &mut Queue, policy: &Policy, request: u64) -> Step {
    let mut all = runs(queue, policy).into_iter();
    let (_, run) = all.find(|(r, _)| *r == Some(RequestId(request))).expect("is tested");
    end(queue, policy, &run, RunOutcome::Green)
}

/// The push that is decided on arrives.
fn push(queue: &mut Queue, policy: &Policy, by: Independence) -> (Vec<u64>, Step) {
    let mut orders = queue.plan(policy).orders.into_iter();
    let landing = orders.find_map(|o| if let Order::Land { landing, .. } = o { Some(landing) } else { None });
    let landing = landing.expect("something lands");
    let seen = Sighting {
        tip: landing.to,
        tree: landing.tree,
        movement: Movement::Forward,
        contains: landing.requests.iter().map(|(_, c)| *c).collect(),
        project_file: None,
        lost: Vec::new(),
    };
    let outcome = LandOutcome::Landed { seen };
    let input = Input::LandEnded { target: main_branch(), to: landing.to, outcome, project: declared(by) };
    let step = queue.step(Millis(30), policy, input);
    (landing.requests.iter().map(|(r, _)| r.0).collect(), step)
}

/// r2 touches nothing that the others touch: it lands before r1 is decided, and r1's run goes on and counts.
#[test]
fn who_shares_no_file_lands_without_waiting_and_takes_nothing_from_the_others() {
    let (policy, by) = (wide(), Independence::Files);
    let mut queue = queue(&policy);
    started(&mut queue, &policy, by);
    assert_eq!(tested(&queue, &policy), [1, 2, 3]);
    finish(&mut queue, &policy, 2);
    let (landed, step) = push(&mut queue, &policy, by);
    assert_eq!(landed, [2]);
    assert!(!step.entry.facts.iter().any(|f| matches!(f, Fact::RunDropped { .. })), "{step:?}");
    (0..3).for_each(|_| drop(merge(&mut queue, &policy)));
    assert_eq!(tested(&queue, &policy), [1, 3], "nothing is tested again");
    finish(&mut queue, &policy, 1);
    (0..3).for_each(|_| drop(merge(&mut queue, &policy)));
    assert_eq!(push(&mut queue, &policy, by).0, [1]);
    finish(&mut queue, &policy, 3);
    (0..3).for_each(|_| drop(merge(&mut queue, &policy)));
    assert_eq!(push(&mut queue, &policy, by).0, [3]);
}

/// Without the project's word everybody stands on everybody.
#[test]
fn nobody_overtakes_where_nothing_is_declared() {
    let (policy, by) = (wide(), Independence::None);
    let mut queue = queue(&policy);
    started(&mut queue, &policy, by);
    finish(&mut queue, &policy, 2);
    let lands = |o: &Order| matches!(o, Order::Land { .. });
    assert!(!queue.plan(&policy).orders.iter().any(lands));
}

/// Somebody pushes to the target by hand: nobody knows what that has to do with, so everything is tested again.
#[test]
fn a_push_from_outside_leaves_no_evidence() {
    let (policy, by) = (wide(), Independence::Files);
    let mut queue = queue(&policy);
    started(&mut queue, &policy, by);
    finish(&mut queue, &policy, 3);
    see(&mut queue, &policy, 9, declared(by));
    (0..3).for_each(|_| drop(merge(&mut queue, &policy)));
    assert_eq!(tested(&queue, &policy), [1, 2, 3]);
    assert!(queue.tip(&main_branch()) == Some(commit(9)));
}

#[test]
fn by_systems_both_have_to_touch_some() {
    let policy = wide();
    let mut queue = queue(&policy);
    started(&mut queue, &policy, Independence::Systems);
    finish(&mut queue, &policy, 2);
    let lands = |o: &Order| matches!(o, Order::Land { .. });
    assert!(!queue.plan(&policy).orders.iter().any(lands), "r2 touches no system, so it may be anything");
}

/// Requests with these files and this confidence, each announced and merged as far as it is to be.
fn with(policy: &Policy, all: &[(&[&str], f64)]) -> Queue {
    let mut queue = queue(policy);
    see(&mut queue, policy, 2, declared(Independence::Files));
    for (n, (files, confidence)) in (1..).zip(all) {
        announce(&mut queue, policy, n.into(), &json!({"confidence": confidence}));
        pin(&mut queue, policy, n, files);
    }
    settle(&mut queue, policy);
    queue
}

fn settle(queue: &mut Queue, policy: &Policy) {
    while !merge(queue, policy).is_empty() {}
}

fn run_of(queue: &Queue, policy: &Policy, request: u64) -> Option<RunId> {
    runs(queue, policy).into_iter().find(|(r, _)| *r == Some(RequestId(request))).map(|(_, run)| run)
}

/// r2 is red on top of r1: r3 goes on without it, also once r2 is tested again on the target; and r3 landing past it
/// does not make r2 begin again.
#[test]
fn who_was_red_with_others_holds_nobody_up_and_is_tested_once_more() {
    let (policy, by) = (wide(), Independence::Files);
    let all: [(&[&str], f64); 4] =
        [(&["a"], 0.99), (&["a", "b"], 0.9), (&["b"], 0.99), (&["of its own"], 0.99)];
    let mut queue = with(&policy, &all);
    assert_eq!(tested(&queue, &policy), [1, 2, 3, 4]);
    let red_with_r1 = run_of(&queue, &policy, 2).expect("is tested");
    end(&mut queue, &policy, &red_with_r1, red("gate"));
    settle(&mut queue, &policy);
    let without = run_of(&queue, &policy, 3);
    // The tip moves, so that what r2 was red on is not what r1 leaves behind.
    for first in [4, 1] {
        finish(&mut queue, &policy, first);
        settle(&mut queue, &policy);
        assert_eq!(push(&mut queue, &policy, by).0, [first]);
        settle(&mut queue, &policy);
    }
    assert_eq!((tested(&queue, &policy), run_of(&queue, &policy, 3)), (vec![2, 3], without));
    let alone = run_of(&queue, &policy, 2).expect("is tested on the target");
    finish(&mut queue, &policy, 3);
    settle(&mut queue, &policy);
    assert_eq!(push(&mut queue, &policy, by).0, [3]);
    settle(&mut queue, &policy);
    assert_eq!(run_of(&queue, &policy, 2), Some(alone.clone()), "its run goes on");
    let step = end(&mut queue, &policy, &alone, red("gate"));
    assert!(
        step.entry.facts.iter().any(|f| matches!(f, Fact::Failed { request: RequestId(2), .. })),
        "{step:?}"
    );
}

/// r2 and r3 are red, and have nothing in common but that they stood on r1: r4 goes on without it, and so do they.
#[test]
fn who_several_that_are_red_have_in_common_is_left_out_before_its_own_run_ends() {
    let (policy, by) = (wide(), Independence::Files);
    let all: [(&[&str], f64); 4] = [(&["a", "b", "c"], 0.97), (&["a"], 0.97), (&["b"], 0.97), (&["c"], 0.97)];
    let mut queue = with(&policy, &all);
    let (of_r1, with_r1) = (run_of(&queue, &policy, 1), run_of(&queue, &policy, 4));
    for request in [2, 3] {
        assert_eq!(run_of(&queue, &policy, 4), with_r1, "one red run says little");
        let run = run_of(&queue, &policy, request).expect("is tested");
        end(&mut queue, &policy, &run, red("gate"));
        settle(&mut queue, &policy);
    }
    assert_eq!((tested(&queue, &policy), run_of(&queue, &policy, 1)), (vec![1, 2, 3, 4], of_r1.clone()));
    assert_ne!(run_of(&queue, &policy, 4), with_r1);
    end(&mut queue, &policy, &of_r1.expect("is tested"), red("gate"));
    settle(&mut queue, &policy);
    for request in [4, 3, 2] {
        finish(&mut queue, &policy, request);
        settle(&mut queue, &policy);
        assert_eq!(push(&mut queue, &policy, by).0, [request]);
        settle(&mut queue, &policy);
    }
}

/// r2 was started without r1, which will hardly pass. It does: then r1 is tested once more on top of r2, and r2 not at all.
#[test]
fn who_was_doubted_and_is_green_goes_behind_those_that_were_tested_without_it() {
    let (policy, by) = (wide(), Independence::Files);
    let mut queue = with(&policy, &[(&["a"], 0.1), (&["a"], 0.99)]);
    let without = run_of(&queue, &policy, 2);
    finish(&mut queue, &policy, 1);
    settle(&mut queue, &policy);
    assert_eq!((tested(&queue, &policy), run_of(&queue, &policy, 2)), (vec![1, 2], without));
    finish(&mut queue, &policy, 2);
    settle(&mut queue, &policy);
    assert_eq!(push(&mut queue, &policy, by).0, [2]);
    settle(&mut queue, &policy);
    assert_eq!(tested(&queue, &policy), [1]);
    finish(&mut queue, &policy, 1);
    settle(&mut queue, &policy);
    assert_eq!(push(&mut queue, &policy, by).0, [1]);
}

/// Of many that wait for a slot only the next ones are merged, and again only those after the target has moved.
#[test]
fn what_has_no_slot_is_not_merged_over_and_over() {
    let policy = Policy { slots: 2, window_max: 60, ..wide() };
    let mut queue = queue(&policy);
    see(&mut queue, &policy, 2, declared(Independence::Files));
    for n in 1..=60 {
        announce(&mut queue, &policy, n.into(), &json!({}));
        pin(&mut queue, &policy, n, &[&format!("own/{n}")]);
    }
    let merges = |queue: &Queue| {
        queue.plan(&policy).orders.iter().filter(|o| matches!(o, Order::Assemble { .. })).count()
    };
    assert!((2..=20).contains(&merges(&queue)), "{}", merges(&queue));
    settle(&mut queue, &policy);
    assert_eq!(tested(&queue, &policy), [1, 2]);
}
