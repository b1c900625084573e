use std::collections::BTreeMap;

use serde_json::json;
use yardmaster_protocol::{
    Assembled, Assembly, CommitId, Gate, LandOutcome, MergedBy, Millis, Movement, ObjectId, Project,
    RequestId, RunOutcome, Sighting, TreeId,
};
use yardmaster_queue::{BaseRed, GateRule, Input, Order, Policy, Queue};

use crate::support::{announce, commit, end, main_branch, pin, policy, queue, runs, see};

/// Git, as far as the mind sees it: a commit is named by what it was made of, a tree by who is in it.
struct Git {
    queue: Queue,
    policy: Policy,
    contents: BTreeMap<CommitId, u64>,
}

impl Git {
    /// With so many requests, of which some share no run.
    fn with(requests: u8, slots: u32, alone: &[u8]) -> Git {
        let gate = GateRule::Fixed(Gate::command("true"));
        let window = u32::from(requests);
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
            announce(&mut git.queue, &git.policy, n.into(), &json!({"alone": alone.contains(&n)}));
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

    fn arrives(&mut self) {
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
        self.queue.step(Millis(30), &self.policy, input);
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
