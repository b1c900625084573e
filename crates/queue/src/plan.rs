use serde::Serialize;
use yardmaster_protocol::{
    Assembly, BranchName, CandidateSpec, ChangelogEdit, CommitId, GateJob, Independence, Landing, Millis,
    RequestId, Rollup,
};

use crate::policy::{GateRule, Policy};
use crate::state::{Queue, Request};
use crate::walk::{Standing, Walk};

/// Announced branches that are fetched together.
const PINS_AT_ONCE: usize = 200;
/// Candidates that stand on different things and are asked for together; more follow.
const ASSEMBLED_APART: usize = 64;

/// The work that should be in progress right now. Whatever is in progress and not in here is to be
/// stopped; whatever is in here and not in progress is to be started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// In no particular order of importance, but always in the same order for the same state.
    pub orders: Vec<Order>,
}

/// A branch to take into custody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PinAsk {
    /// For which request.
    pub request: RequestId,
    /// Where its work is.
    pub branch: BranchName,
    /// The head that was offered, if one was named.
    pub commit: Option<CommitId>,
}

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// Fetch and pin announced heads.
    Pin {
        /// Where they are to land.
        target: BranchName,
        /// The target's tip.
        tip: CommitId,
        /// Which.
        asks: Vec<PinAsk>,
    },
    /// Merge, each on top of the last one that was clean.
    Assemble {
        /// For which target.
        target: BranchName,
        /// The lowest base.
        base: CommitId,
        /// In order.
        specs: Vec<CandidateSpec>,
    },
    /// Merge heads with each other and with the tip, to know who conflicts with whom.
    Compare {
        /// For which target.
        target: BranchName,
        /// Its tip.
        tip: CommitId,
        /// Those that were not compared yet; all others only with the tip, where it is new.
        requests: Vec<RequestId>,
    },
    /// Make the merge commit of a batch.
    RollUp {
        /// For which target.
        target: BranchName,
        /// What it is made of.
        rollup: Rollup,
    },
    /// Read source code, to know who meets whom at a definition.
    ReadDefinitions {
        /// For which target.
        target: BranchName,
        /// Its tip.
        tip: CommitId,
        /// Whose, to be held against all others.
        requests: Vec<RequestId>,
    },
    /// Run the gate.
    Test(GateJob),
    /// Push.
    Land {
        /// To which branch.
        target: BranchName,
        /// What.
        landing: Landing,
    },
}

impl Queue {
    /// The work that should be in progress right now, as a value that can be printed and compared.
    pub fn plan(&self, policy: &Policy) -> Plan {
        let mut orders = Vec::new();
        for name in self.targets.keys() {
            orders.extend(self.pins(name));
            if let Some(walk) = self.walk(name, policy) {
                orders.extend(self.merges(name, &walk, policy));
                let rollup = self.rollup_to_make(name, &walk, policy);
                orders.extend(rollup.map(|rollup| Order::RollUp { target: name.clone(), rollup }));
            }
            let compare = self.to_compare(name);
            orders.extend(compare.map(|(tip, requests)| Order::Compare {
                target: name.clone(),
                tip,
                requests,
            }));
            let read = self.to_read(name, policy);
            orders.extend(read.map(|(tip, requests)| Order::ReadDefinitions {
                target: name.clone(),
                tip,
                requests,
            }));
            orders.extend(self.tests(name, policy));
            let landing = self.targets.get(name).and_then(|t| t.landing.clone());
            orders.extend(landing.map(|landing| Order::Land { target: name.clone(), landing }));
        }
        Plan { orders }
    }

    /// When the queue wants to be asked again even if nothing happens.
    pub fn look_again(&self) -> Option<Millis> {
        self.index.pushed_at.values().min().copied()
    }

    fn pins(&self, name: &BranchName) -> Option<Order> {
        let tip = self.tip(name)?;
        let asks: Vec<PinAsk> = self
            .index
            .arriving
            .values()
            .filter_map(|id| Some((*id, self.live.get(id)?)))
            .filter(|(_, r)| r.target == *name)
            .take(PINS_AT_ONCE)
            .map(|(request, r)| PinAsk {
                request,
                branch: r.announcement.branch.clone(),
                commit: r.announcement.commit,
            })
            .collect();
        (!asks.is_empty()).then(|| Order::Pin { target: name.clone(), tip, asks })
    }

    /// The rest of the stack on what is known of it, and what conflicts inside the stack on the tip
    /// alone: if it does not merge there either, nobody ahead is to blame.
    fn merges(&self, name: &BranchName, walk: &Walk, policy: &Policy) -> Vec<Order> {
        let Some(target) = self.targets.get(name) else { return Vec::new() };
        let spec = |id: RequestId| self.live.get(&id).and_then(|r| candidate(id, r, policy));
        let order =
            |base: CommitId, specs: Vec<CandidateSpec>| Order::Assemble { target: name.clone(), base, specs };
        let mut orders = Vec::new();
        let missing = |p: &&crate::walk::Place| p.standing == Standing::Unassembled;
        if target.independence() != Independence::None {
            let apart = self.worth_merging_apart(name, target, walk, policy);
            let apart = apart.into_iter().take(ASSEMBLED_APART);
            orders.extend(apart.map(|place| {
                let stack = place.behind.iter().chain([&place.request]);
                order(walk.tip, stack.filter_map(|id| spec(*id)).collect())
            }));
        } else if let Some(first) = walk.places.iter().find(missing) {
            let specs = walk.places.iter().filter(missing).filter_map(|p| spec(p.request)).collect();
            orders.push(order(first.base, specs));
        } else if let Some((base, stack)) = target.to_make_anew(walk) {
            orders.push(order(base, stack.into_iter().filter_map(spec).collect()));
        }
        let spare = self.spare_merges(name, walk, policy).into_iter();
        orders.extend(spare.map(|(base, stack)| order(base, stack.into_iter().filter_map(spec).collect())));
        for place in walk.places.iter().filter(|p| p.standing == Standing::Conflict) {
            let probed: Option<&Assembly> = target.assemblies.get(&(walk.tip, place.request));
            let alone = self.pending_needs(place.request).is_empty();
            if probed.is_none() && alone {
                orders.push(order(walk.tip, spec(place.request).into_iter().collect()));
            }
        }
        // Before anything is told, git itself says how it does not merge.
        for request in self.hopeless(name).filter(|r| !target.assemblies.contains_key(&(walk.tip, *r))) {
            orders.push(order(walk.tip, spec(request).into_iter().collect()));
        }
        orders
    }

    fn tests(&self, name: &BranchName, policy: &Policy) -> Vec<Order> {
        let Some(target) = self.targets.get(name) else { return Vec::new() };
        let job = |(run, asked): (&yardmaster_protocol::RunId, &crate::state::Run)| {
            Order::Test(GateJob {
                run: run.clone(),
                request: asked.request,
                target: name.clone(),
                candidate: asked.candidate,
                tree: asked.tree,
                base: asked.base,
                attempt: asked.attempt,
                gate: asked.gate.clone(),
                since: target.known_green(asked),
                learned_ms: target.learned(asked, policy),
            })
        };
        target.runs.iter().map(job).collect()
    }
}

/// All that a request's candidate is made of: nothing in it depends on time or on a run.
pub(crate) fn candidate(id: RequestId, request: &Request, policy: &Policy) -> Option<CandidateSpec> {
    let head = request.custody()?.head;
    let a = &request.announcement;
    let title = a.title.as_deref().map(one_line).filter(|t| !t.is_empty());
    let body = title.as_ref().map(|t| format!("{t}\n\n")).unwrap_or_default();
    let message = format!(
        "Merge {} from {}\n\n{body}Request-Id: {id}\nRequirement: {}\nAgent: {}\n",
        a.requirement, a.agent, a.requirement, a.agent
    );
    let changelog = policy.changelog.as_ref().map(|c| {
        let line = c
            .template
            .replace("{requirement}", a.requirement.as_str())
            .replace("{title}", title.as_deref().unwrap_or(a.branch.as_str()))
            .replace("{agent}", a.agent.as_str())
            .replace("{branch}", a.branch.as_str())
            .replace("{request}", &id.to_string());
        ChangelogEdit { path: c.path.clone(), entry: format!("{}\n", line.trim_end()) }
    });
    Some(CandidateSpec {
        request: id,
        head,
        message,
        author: a.agent.to_string(),
        at: request.published,
        changelog,
        needs_gate: policy.gate == GateRule::FromTarget,
    })
}

/// A text from outside as one line that cannot be taken for a trailer.
fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    words.join(" ").chars().take(200).collect()
}
