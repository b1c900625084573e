//! Whatever happens in whatever order: who is held is neither tested nor pushed, nobody is held for good, and
//! a journal that is read again gives the same state.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;
use yardmaster_protocol::{
    Assembled, Assembly, ChangeSize, CommitId, Entry, Fact, Inspection, IntakeSeq, LandOutcome, MergedBy,
    Millis, Movement, ObjectId, Project, RequestId, RunOutcome, RunReport, Sighting, TreeId,
};
use yardmaster_queue::{Input, Order, Policy, Queue};

use crate::support::{main_branch, policy};

const AGENTS: [&str; 3] = ["roy", "ana", "eve"];
const FILES: [&str; 4] = ["api/a", "api/secret/k", "web/page", "deploy/prod"];
const VERDICTS: [&str; 3] = ["approved", "changes_requested", "blocked"];
const RULES: [&str; 5] = [
    "",
    "[scope]\nprotected = [\"deploy/**\"]",
    "[scope.agents.roy]\nallow = [\"api/**\"]\ndeny = [\"api/secret/**\"]",
    "[review]\nrequired = true\nby = [\"eve\"]",
    "[scope]\ndefault = \"deny\"\ncodeowners = \"OWNERS\"\n[scope.agents.ana]\n[scope.agents.roy]",
];
const OWNERS: &str = "/web/ @ana";

#[derive(Debug, Clone)]
enum Deed {
    Announce { agent: usize, files: u8 },
    Review { of: u8, by: usize, verdict: usize },
    Rules(usize),
    Withdraw(u8),
    Work,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => (0..AGENTS.len(), 1..16_u8).prop_map(|(agent, files)| Deed::Announce { agent, files }),
        4 => (any::<u8>(), 0..AGENTS.len(), 0..VERDICTS.len())
            .prop_map(|(of, by, verdict)| Deed::Review { of, by, verdict }),
        2 => (0..RULES.len()).prop_map(Deed::Rules),
        1 => any::<u8>().prop_map(Deed::Withdraw),
        6 => Just(Deed::Work),
    ]
}

fn id(n: u64) -> CommitId {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    CommitId(ObjectId(bytes))
}

/// A request as the rules are meant, without globs or indexes.
struct Offered {
    agent: &'static str,
    files: Vec<&'static str>,
    said: BTreeMap<&'static str, &'static str>,
}

struct World {
    queue: Queue,
    policy: Policy,
    journal: Vec<Entry>,
    offered: BTreeMap<u64, Offered>,
    rules: usize,
    made: u64,
    reviews: u64,
    /// What is on its way is seen to its end.
    pushed: BTreeSet<u64>,
}

impl World {
    fn new() -> World {
        let mut policy = policy();
        policy.window_max = 3;
        let (queue, journal, offered) = (Queue::new(), Vec::new(), BTreeMap::new());
        let mut world = World {
            queue,
            policy,
            journal,
            offered,
            rules: 0,
            made: 1_000_000,
            reviews: 0,
            pushed: BTreeSet::new(),
        };
        world.look(id(1));
        world
    }

    fn project(&self) -> Result<Project, String> {
        let project = Project::parse(RULES[self.rules]).unwrap();
        project.with_owners(Some(OWNERS)).map_err(|e| e.to_string())
    }

    fn sighting(tip: CommitId, contains: Vec<CommitId>) -> Sighting {
        let (tree, movement) = (TreeId(tip.0), Movement::Forward);
        Sighting { tip, tree, movement, contains, project_file: None, lost: Vec::new() }
    }

    fn look(&mut self, tip: CommitId) {
        let (target, known) = (main_branch(), self.queue.tip(&main_branch()));
        let (sighting, project) = (World::sighting(tip, Vec::new()), self.project());
        self.input(Input::Seen { target, known, sighting, project });
    }

    /// Whether the rules keep it from being tested, as they are meant.
    fn is_held(&self, request: u64) -> bool {
        let offered = &self.offered[&request];
        let any = |start: &str| offered.files.iter().any(|f| f.starts_with(start));
        let others = || offered.said.iter().filter(|(who, _)| **who != offered.agent);
        let counting = || others().filter(|(who, _)| self.rules != 3 || **who == "eve");
        let ruled = match self.rules {
            1 => any("deploy/"),
            2 => offered.agent == "roy" && (any("api/secret/") || any("web/") || any("deploy/")),
            3 => !counting().any(|(_, verdict)| *verdict == "approved"),
            4 => {
                let by_owner = offered.said.get("ana") == Some(&"approved");
                offered.agent == "eve" || (any("web/") && offered.agent != "ana" && !by_owner)
            }
            _ => false,
        };
        ruled || counting().any(|(_, verdict)| *verdict != "approved")
    }

    fn input(&mut self, input: Input) {
        let step = self.queue.step(Millis(9), &self.policy, input);
        for fact in &step.entry.facts {
            match fact {
                Fact::Testing { request, .. } => {
                    let pushed = self.pushed.contains(&request.0);
                    assert!(pushed || !self.is_held(request.0), "{request} is tested");
                }
                Fact::LandingStarted { landing, .. } => {
                    for (request, _) in &landing.requests {
                        assert!(!self.is_held(request.0), "{request} is pushed");
                    }
                    self.pushed = landing.requests.iter().map(|(request, _)| request.0).collect();
                }
                Fact::LandingEnded { .. } => self.pushed.clear(),
                _ => {}
            }
        }
        self.journal.push(step.entry);
    }

    fn act(&mut self, deed: &Deed) {
        match deed {
            Deed::Announce { agent, files } => self.announce(AGENTS[*agent], *files),
            Deed::Review { of, by, verdict } => {
                let of = u64::from(*of) % (self.offered.len() as u64 + 1);
                self.review(of.max(1), AGENTS[*by], VERDICTS[*verdict]);
            }
            Deed::Rules(rules) => {
                self.rules = *rules;
                let tip = self.queue.tip(&main_branch()).unwrap();
                self.look(tip);
            }
            Deed::Withdraw(of) => {
                let request = RequestId(u64::from(*of) % (self.offered.len() as u64 + 1));
                self.input(Input::Withdraw { request, by: "roy".to_owned() });
            }
            Deed::Work => self.work(1),
        }
    }

    fn announce(&mut self, agent: &'static str, files: u8) {
        let n = self.offered.len() as u64 + 1;
        let files: Vec<&str> = (0..4).filter(|bit| files >> bit & 1 == 1).map(|bit| FILES[bit]).collect();
        let info = json!({"agent": agent, "branch": format!("work/{n}"), "requirement": format!("REQ-{n}")});
        self.offered.insert(n, Offered { agent, files: files.clone(), said: BTreeMap::new() });
        self.input(Input::Message {
            intake: IntakeSeq(n),
            subject: format!("work.integration.{agent}"),
            published: Millis(n),
            traceparent: None,
            payload: json!({"type": "ready_to_merge", "merge_info": info}).to_string().into_bytes(),
        });
        let found = Inspection::Pinned {
            head: id(n),
            merge_base: id(1),
            size: ChangeSize { lines: 1, files: u32::try_from(files.len()).unwrap() },
            files: files.iter().map(|f| (*f).to_owned()).collect(),
            contained: false,
        };
        self.input(Input::Inspected(vec![(RequestId(n), found)]));
    }

    fn review(&mut self, request: u64, by: &'static str, verdict: &'static str) {
        let Some(offered) = self.offered.get_mut(&request) else { return };
        offered.said.insert(by, verdict);
        self.reviews += 1;
        let review = json!({"reviewer": by, "head": id(request), "verdict": verdict});
        self.input(Input::Review {
            intake: IntakeSeq(self.reviews),
            subject: format!("work.reviews.{by}"),
            payload: json!({"type": "review", "review": review}).to_string().into_bytes(),
        });
    }

    /// Carries out what the plan asks for, so many times.
    fn work(&mut self, times: usize) {
        for _ in 0..times {
            for order in self.queue.plan(&self.policy).orders {
                self.carry_out(order);
            }
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Assemble { target, base, specs } => {
                let mut on = base;
                let merge = |spec: yardmaster_protocol::CandidateSpec| {
                    self.made += 1;
                    let commit = id(self.made);
                    let assembly = Assembly::Clean { commit, tree: TreeId(commit.0), by: MergedBy::Memory };
                    Assembled { base: std::mem::replace(&mut on, commit), request: spec.request, assembly }
                };
                let merges = specs.into_iter().map(merge).collect();
                self.input(Input::Assembled { target, merges });
            }
            Order::RollUp { target, rollup } => {
                self.made += 1;
                let commit = id(self.made);
                self.input(Input::RolledUp { target, base: rollup.base, top: rollup.top, commit });
            }
            Order::Test(job) => {
                let (run, runner, outcome) = (job.run, "here/1".to_owned(), RunOutcome::Green);
                let steps = Vec::new();
                self.input(Input::RunEnded(RunReport {
                    run,
                    runner,
                    outcome,
                    started: Millis(9),
                    ms: 1,
                    steps,
                    skipped: Vec::new(),
                }));
            }
            Order::Land { target, landing } => {
                let seen =
                    World::sighting(landing.to, landing.requests.iter().map(|(_, commit)| *commit).collect());
                let (to, outcome, project) = (landing.to, LandOutcome::Landed { seen }, self.project());
                self.input(Input::LandEnded { target, to, outcome, project });
            }
            Order::Pin { .. } | Order::Compare { .. } | Order::ReadDefinitions { .. } => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn who_is_held_takes_no_part_and_nobody_for_good(deeds in proptest::collection::vec(deed(), 1..60)) {
        let mut world = World::new();
        deeds.iter().for_each(|deed| world.act(deed));
        let mut again = Queue::new();
        world.journal.iter().for_each(|entry| drop(again.replay(entry)));
        prop_assert_eq!(again.to_snapshot().unwrap(), world.queue.to_snapshot().unwrap());
        let restarted = Queue::from_snapshot(&world.queue.to_snapshot().unwrap()).unwrap();
        prop_assert_eq!(restarted.plan(&world.policy), world.queue.plan(&world.policy));
        world.queue = restarted;
        world.act(&Deed::Rules(0));
        for request in world.offered.keys().copied().collect::<Vec<_>>() {
            AGENTS.into_iter().for_each(|by| world.review(request, by, "approved"));
        }
        world.work(200);
        prop_assert_eq!(world.queue.pending(), 0);
    }
}
