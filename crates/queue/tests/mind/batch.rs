use std::collections::BTreeMap;

use serde_json::json;
use yardmaster_protocol::{
    Assembled, Assembly, Blame, CommitId, EventBody, Gate, LandOutcome, MergedBy, Millis, Movement, ObjectId,
    Project, RequestId, RunOutcome, Sighting, TreeId,
};
use yardmaster_queue::{BaseRed, GateRule, Input, Order, Policy, Queue, Step};

use crate::support::{announce, commit, end, failed, main_branch, pin, policy, queue, red, runs, see, took};

/// Git, as far as the mind sees it: a commit is named by what it was made of, a tree by who is in it.
struct Git {
    queue: Queue,
    policy: Policy,
    contents: BTreeMap<CommitId, u64>,
}

impl Git {
    /// With so many requests, of which some share no run.
    fn with(requests: u8, slots: u32, alone: &[u8]) -> Git {
        Git::announcing(requests, slots, |n| json!({"alone": alone.contains(&n)}))
    }

    fn announcing(requests: u8, slots: u32, more: impl Fn(u8) -> serde_json::Value) -> Git {
        let gate = GateRule::Fixed(Gate::command("true"));
        let window = u32::from(requests).max(slots);
        let policy = Policy {
            gate,
            window_min: window,
            window_max: window,
            base_red: BaseRed::Ignore,
            batch_max: 32,
            slots,
            ..policy()
        };
        let mut git = Git { queue: queue(&policy), policy, contents: BTreeMap::new() };
        see(&mut git.queue, &git.policy, 2, Ok(Project::default()));
        for n in 1..=requests {
            announce(&mut git.queue, &git.policy, n.into(), &more(n));
            pin(&mut git.queue, &git.policy, n, &[&format!("f{n}")]);
        }
        git.merge();
        git
    }

    fn made(&mut self, of: [u8; 3], who: u64) -> CommitId {
        let [kind, a, b] = of;
        let mut id = [kind; 20];
        (id[1], id[2]) = (a, b);
        id[3..11].copy_from_slice(&who.to_be_bytes());
        let made = CommitId(ObjectId(id));
        self.contents.insert(made, who);
        made
    }

    fn who(&self, commit: CommitId) -> u64 {
        self.contents.get(&commit).copied().unwrap_or(0)
    }

    /// All merges and merge commits of batches that are asked for, until none is. Counts the merges.
    fn merge(&mut self) -> usize {
        let mut count = 0;
        while let Some(order) = self.queue.plan(&self.policy).orders.into_iter().find(is_gits) {
            match order {
                Order::Assemble { target, base, specs } => {
                    let (mut on, mut merges) = (base, Vec::new());
                    for spec in specs {
                        let id = u8::try_from(spec.request.0).unwrap();
                        let who = self.who(on) | 1 << id;
                        let made = self.made([7, on.0.0[0], id], who);
                        let assembly =
                            Assembly::Clean { commit: made, tree: tree(who), by: MergedBy::Memory };
                        let base = std::mem::replace(&mut on, made);
                        merges.push(Assembled { base, request: spec.request, assembly });
                        count += 1;
                    }
                    self.queue.step(Millis(20), &self.policy, Input::Assembled { target, merges });
                }
                Order::RollUp { target, rollup } => {
                    let who = self.who(rollup.top);
                    let commit = self.made([9, rollup.base.0.0[0], 0], who);
                    let (base, top) = (rollup.base, rollup.top);
                    self.queue.step(Millis(21), &self.policy, Input::RolledUp { target, base, top, commit });
                }
                _ => unreachable!("only what git does"),
            }
        }
        count
    }

    fn green(&mut self, request: u64) {
        let mut all = runs(&self.queue, &self.policy).into_iter();
        let (_, run) = all.find(|(r, _)| *r == Some(RequestId(request))).expect("is tested");
        end(&mut self.queue, &self.policy, &run, RunOutcome::Green);
        self.merge();
    }

    /// Ends the run of those.
    fn ends(&mut self, requests: &[u64], outcome: RunOutcome) {
        let who: u64 = requests.iter().map(|r| 1 << r).sum();
        let jobs = self.queue.plan(&self.policy).orders.into_iter();
        let mut jobs = jobs.filter_map(|o| if let Order::Test(job) = o { Some(job) } else { None });
        let job = jobs.find(|job| job.tree == tree(who)).expect("is tested");
        end(&mut self.queue, &self.policy, &job.run, outcome);
        self.merge();
    }

    fn tested(&self) -> Vec<u64> {
        let mut all: Vec<u64> =
            runs(&self.queue, &self.policy).into_iter().filter_map(|(r, _)| Some(r?.0)).collect();
        all.sort_unstable();
        all
    }

    /// Who is being pushed.
    fn pushed(&self) -> Vec<u64> {
        let orders = self.queue.plan(&self.policy).orders.into_iter();
        let landing =
            orders.filter_map(|o| if let Order::Land { landing, .. } = o { Some(landing) } else { None });
        landing.flat_map(|l| l.requests).map(|(r, _)| r.0).collect()
    }

    fn arrives(&mut self) -> Step {
        let orders = self.queue.plan(&self.policy).orders.into_iter();
        let mut landing =
            orders.filter_map(|o| if let Order::Land { landing, .. } = o { Some(landing) } else { None });
        let landing = landing.next().expect("something lands");
        let seen = Sighting {
            tip: landing.to,
            tree: landing.tree,
            movement: Movement::Forward,
            contains: landing.requests.iter().map(|(_, c)| *c).collect(),
            project_file: None,
            lost: Vec::new(),
        };
        let (outcome, project) = (LandOutcome::Landed { seen }, Ok(Project::default()));
        let input = Input::LandEnded { target: main_branch(), to: landing.to, outcome, project };
        self.queue.step(Millis(30), &self.policy, input)
    }
}

fn is_gits(order: &Order) -> bool {
    matches!(order, Order::Assemble { .. } | Order::RollUp { .. })
}

fn tree(who: u64) -> TreeId {
    let mut id = commit(5).0.0;
    id[..8].copy_from_slice(&who.to_be_bytes());
    TreeId(ObjectId(id))
}

/// The highest green run decides for all beneath it: they are pushed at once, in one piece, whatever is still
/// running in between.
#[test]
fn all_beneath_the_highest_green_one_land_with_one_push() {
    let mut git = Git::with(8, 4, &[]);
    let tested = git.tested();
    assert!(tested.len() == 4 && tested.last() == Some(&8), "{tested:?}");
    git.green(8);
    assert_eq!(git.pushed(), [1, 2, 3, 4, 5, 6, 7, 8]);
    git.arrives();
    assert_eq!(git.queue.plan(&git.policy).orders, []);
}

/// While a batch is being pushed, what is above it is merged onto its merge commit, so that after it nothing has to
/// be merged before the next push.
#[test]
fn while_a_batch_is_pushed_what_is_above_it_is_made_ready() {
    let mut git = Git::with(8, 4, &[]);
    let tested = git.tested();
    git.green(tested[0]);
    let first = git.pushed();
    assert_eq!(first.last(), tested.first());
    git.green(tested[1]);
    git.arrives();
    let second = git.pushed();
    assert_eq!(
        second.first(),
        first.last().map(|r| r + 1).as_ref(),
        "decided in the step in which the first landed"
    );
    assert_eq!(second.last(), tested.get(1));
}

/// Who is marked `alone` lands in no batch, however green what is above it is.
#[test]
fn who_is_marked_alone_is_in_no_batch() {
    let mut git = Git::with(6, 4, &[4]);
    assert!(git.tested().contains(&4) && git.tested().contains(&6), "{:?}", git.tested());
    git.green(6);
    assert_eq!(git.pushed(), [0_u64; 0]);
    git.green(3);
    assert_eq!(git.pushed(), [1, 2, 3]);
}

/// With slots to spare those that are likely to be at fault are tested without each other, too: it shows in one round
/// who is.
#[test]
fn who_is_doubtful_is_tested_around_where_slots_are_free() {
    let unsure = |_| json!({"confidence": 0.5});
    let mut git = Git::announcing(3, 8, unsure);
    assert_eq!(git.tested(), [1, 2, 2, 3, 3, 3, 3], "on the others, and without some of them");
    git.ends(&[2], RunOutcome::Green);
    git.ends(&[1], red("gate"));
    assert_eq!(git.pushed(), [2], "the first has failed, and the second is green without it");
    git.ends(&[2, 3], red("gate"));
    git.arrives();
    git.merge();
    assert!(
        git.queue.plan(&git.policy).orders.is_empty(),
        "nor is the third tested again: {:?}",
        git.tested()
    );
}

/// Nobody is tested around who is likely to pass, and where there is no slot to spare.
#[test]
fn nothing_is_tested_around_without_need() {
    assert_eq!(Git::with(3, 8, &[]).tested(), [1, 2, 3]);
    assert_eq!(Git::announcing(3, 2, |_| json!({"confidence": 0.5})).tested().len(), 2);
}

/// Two that pass, and not together: the first lands, and the other one is told with whom it fails.
#[test]
fn who_fails_only_together_with_another_is_told_with_whom() {
    let mut git = Git::announcing(3, 8, |n| json!({"confidence": if n == 3 { 0.99 } else { 0.5 }}));
    git.ends(&[1, 2], red("gate"));
    git.ends(&[2], RunOutcome::Green);
    git.ends(&[1], RunOutcome::Green);
    assert_eq!(git.pushed(), [1]);
    let step = git.arrives();
    let (id, message, keys) = failed(&step).remove(0);
    assert_eq!((id, keys.as_str()), (2, "base candidate exit_code log log_tail step with"));
    assert!(
        message
            .ends_with("it is green without r1 (work/1 by roy), which landed ahead of it, and red with it"),
        "{message}"
    );
    let blame = step.events.iter().find_map(|e| match &e.event.body {
        EventBody::MergeFailed(failure) => Some(failure.blame),
        _ => None,
    });
    assert_eq!(blame, Some(Blame::Ahead));
}

impl Git {
    /// Ends the run of `request` at that time, in milliseconds.
    fn green_at(&mut self, request: u64, at: u64) {
        let mut all = runs(&self.queue, &self.policy).into_iter();
        let (_, run) = all.find(|(r, _)| *r == Some(RequestId(request))).expect("is tested");
        self.queue.step(Millis(at), &self.policy, took(&run, RunOutcome::Green, 280));
        self.merge();
    }

    fn tick(&mut self, at: u64) {
        self.queue.step(Millis(at), &self.policy, Input::Tick { awake: Millis(0) });
    }
}

/// Runs that are due within the time of a push are waited for, because what they decide would wait for the whole
/// push; but not longer.
#[test]
fn a_push_waits_for_runs_that_are_due() {
    let mut git = Git::with(8, 4, &[]);
    let tested = git.tested();
    git.green_at(tested[0], 300);
    assert_eq!(git.pushed(), [0_u64; 0], "the others began at the same time");
    let until = git.queue.look_again().expect("is to be asked again").0;
    assert!((301..=400).contains(&until), "{until}");
    git.tick(until - 1);
    assert_eq!(git.pushed(), [0_u64; 0]);
    git.tick(until);
    assert_eq!(git.pushed().last(), tested.first(), "they are late");
    assert_eq!(git.queue.look_again(), None);

    let mut git = Git::with(8, 4, &[]);
    git.green_at(tested[0], 300);
    git.green_at(8, 310);
    assert_eq!(git.pushed(), [1, 2, 3, 4, 5, 6, 7, 8]);
}

/// Nobody waits for runs that are not due before a push would be over.
#[test]
fn a_push_does_not_wait_for_runs_that_take_longer() {
    let mut git = Git::with(8, 4, &[]);
    let tested = git.tested();
    git.green_at(tested[0], 60_000);
    assert_eq!(git.pushed().last(), tested.first());
}

/// Who is being pushed takes no place from those that wait: they are tested meanwhile.
#[test]
fn while_a_batch_is_pushed_the_next_ones_are_tested() {
    let mut git = Git::with(8, 4, &[]);
    git.green(8);
    assert_eq!(git.pushed().len(), 8);
    for n in 9..=16 {
        announce(&mut git.queue, &git.policy, n, &json!({}));
        pin(&mut git.queue, &git.policy, u8::try_from(n).unwrap(), &[&format!("f{n}")]);
    }
    git.merge();
    assert_eq!(git.tested().last(), Some(&16), "{:?}", git.tested());
    git.arrives();
    git.green(16);
    assert_eq!(git.pushed(), (9..=16).collect::<Vec<u64>>());
}

/// Where the first runs show that they slow each other, no more are started than decide more.
#[test]
fn runs_that_slow_each_other_are_fewer() {
    let mut git = Git::with(8, 8, &[]);
    assert_eq!(git.tested().len(), 8);
    let all = git.tested();
    for (run, ms) in all.iter().zip([400; 8]) {
        let mut open = runs(&git.queue, &git.policy).into_iter();
        let Some((_, id)) = open.find(|(r, _)| *r == Some(RequestId(*run))) else { continue };
        git.queue.step(Millis(500), &git.policy, took(&id, RunOutcome::Green, ms));
        git.merge();
    }
    git.arrives();
    announce(&mut git.queue, &git.policy, 9, &json!({}));
    pin(&mut git.queue, &git.policy, 9, &["f9"]);
    git.merge();
    let (_, id) = runs(&git.queue, &git.policy).remove(0);
    git.queue.step(Millis(600), &git.policy, took(&id, RunOutcome::Green, 50));
    git.merge();
    git.arrives();
    for n in 10..=17 {
        announce(&mut git.queue, &git.policy, n, &json!({}));
        pin(&mut git.queue, &git.policy, u8::try_from(n).unwrap(), &[&format!("f{n}")]);
    }
    git.merge();
    assert_eq!(git.tested().len(), 2, "eight take 400 ms, one takes 50: {:?}", git.tested());
}
