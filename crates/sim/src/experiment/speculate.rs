use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};

use super::building::{Build, Plan, Stage, Wish, Yard, live, number};
use super::outcome::Outcome;
use super::set::Set;
use super::world::World;

/// After a finished build under the likeliest assumptions: how sure it makes of a landing, or of a failure.
const EVIDENCE: f64 = 0.995;
/// With patience, builds that are at least so likely to be needed come in the order of arrival.
const LIKELY: f64 = 0.5;
/// Less likely builds are never looked at.
const LEAST: f64 = 1e-9;

/// Every combination of outcomes ahead, as if each was as likely as any other.
pub fn speculate_all(world: &World, workers: usize) -> Outcome {
    let mut odds = vec![0.5; world.len()];
    live(world, workers, |yard| best_first(yard, &mut odds, false))
}

/// SubmitQueue as published in 2019: best first by the product of the probabilities of the outcomes ahead; what falls
/// out of the best is aborted.
pub fn submit_queue(world: &World, workers: usize) -> Outcome {
    let mut odds = world.predicted.clone();
    live(world, workers, |yard| best_first(yard, &mut odds, true))
}

/// The same odds, with patience: a build goes on for as long as what it stands on may come true; those that are rather
/// needed than not come first, oldest first; and none is started that is not at least `threshold` likely to be needed.
pub fn patient(world: &World, workers: usize, threshold: f64) -> Outcome {
    let mut odds = world.predicted.clone();
    live(world, workers, |yard| {
        let Plan { likely, wishes } = best_first(yard, &mut odds, true);
        let going = yard.running.iter().filter(|(build, (_, _, on))| is_possible(yard, build.0, on));
        let wish = |(change, key): Build| Wish { change, key, flipped: Vec::new(), value: 1.0 };
        let mut going: Vec<Wish> = going.map(|(build, _)| wish(*build)).collect();
        let mut seen: BTreeSet<Build> = going.iter().map(|w| (w.change, w.key)).collect();
        let trees = yard.pending.iter().map(|j| Tree::new(yard, &odds, j));
        let oldest = trees.filter(|t| t.best >= LIKELY).map(|t| t.wish(&[], t.best));
        let rest = wishes.into_iter().filter(|w| w.value >= threshold);
        let mut is_new = |w: &Wish| {
            let build = (w.change, w.key);
            !yard.finished.contains_key(&build) && seen.insert(build)
        };
        let free = yard.workers - going.len();
        going.extend(oldest.chain(rest).filter(|w| is_new(w)).take(free));
        Plan { likely, wishes: going }
    })
}

fn is_possible(yard: &Yard<'_>, change: usize, on: &Set) -> bool {
    let believed = &yard.world.believed[change];
    believed.iter().all(|i| match yard.stage[i] {
        Stage::Landed => on.contains(i),
        Stage::Failed => !on.contains(i),
        Stage::Ahead | Stage::Pending => true,
    })
}

/// The builds of one change, by their probability.
struct Tree {
    change: usize,
    /// Of the likeliest build.
    key: u64,
    best: f64,
    /// Those ahead, the most doubtful first, with what the opposite of the likelier outcome costs.
    flips: Vec<(f64, usize)>,
}

/// A build that was not looked at yet.
struct Node {
    value: f64,
    tree: usize,
    /// Which outcomes ahead are the less likely ones, by their place in the tree, ascending.
    flipped: Vec<usize>,
}

impl Tree {
    fn new(yard: &Yard<'_>, odds: &[f64], change: usize) -> Tree {
        let (mut key, mut best) = (yard.landed_keys[change], 1.0);
        for i in yard.ahead(change) {
            if odds[i] >= 0.5 {
                best *= odds[i];
                key ^= number(i);
            } else {
                best *= 1.0 - odds[i];
            }
        }
        Tree { change, key, best, flips: Vec::new() }
    }

    /// Sorted only for those trees that are looked at.
    fn sort_flips(&mut self, yard: &Yard<'_>, odds: &[f64]) {
        let cost = |i: usize| odds[i].min(1.0 - odds[i]) / odds[i].max(1.0 - odds[i]);
        self.flips = yard.ahead(self.change).map(|i| (cost(i), i)).collect();
        self.flips.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    }

    fn wish(&self, flipped: &[usize], value: f64) -> Wish {
        let flipped: Vec<usize> =
            flipped.iter().filter_map(|place| Some(self.flips.get(*place)?.1)).collect();
        let key = flipped.iter().fold(self.key, |key, i| key ^ number(*i));
        Wish { change: self.change, key, flipped, value }
    }
}

/// The best builds by the odds, as many as there are workers. A finished build on what is likeliest moves the odds, if it `counts`.
fn best_first(yard: &Yard<'_>, odds: &mut [f64], counts: bool) -> Plan {
    let mut trees: Vec<Tree> = Vec::new();
    let mut likely = yard.landed.clone();
    for j in yard.pending.iter() {
        let tree = Tree::new(yard, odds, j);
        match yard.finished.get(&(j, tree.key)).filter(|_| counts) {
            Some(true) => odds[j] = EVIDENCE,
            Some(false) => odds[j] = 1.0 - EVIDENCE,
            None => {}
        }
        if odds[j] >= 0.5 {
            likely.insert(j);
        }
        trees.push(tree);
    }
    let root = |(tree, t): (usize, &Tree)| Node { value: t.best, tree, flipped: Vec::new() };
    let mut heap: BinaryHeap<Node> = trees.iter().enumerate().map(root).collect();
    let mut wishes = Vec::with_capacity(yard.workers);
    while let Some(node) = heap.pop().filter(|node| node.value >= LEAST) {
        if wishes.len() >= yard.workers {
            break;
        }
        let tree = &mut trees[node.tree];
        if node.flipped.is_empty() {
            tree.sort_flips(yard, odds);
        }
        let wish = tree.wish(&node.flipped, node.value);
        if !yard.finished.contains_key(&(wish.change, wish.key)) {
            wishes.push(wish);
        }
        heap.extend(next_of(tree, &node));
    }
    Plan { likely, wishes }
}

/// The two that come after a node: one more outcome flipped, or the last flipped one passed on. Each combination comes once.
fn next_of(tree: &Tree, node: &Node) -> Vec<Node> {
    let last = node.flipped.last().copied();
    let next = last.map_or(0, |last| last + 1);
    let Some((cost, _)) = tree.flips.get(next) else { return Vec::new() };
    let mut more = node.flipped.clone();
    more.push(next);
    let mut nodes = vec![Node { value: node.value * cost, tree: node.tree, flipped: more }];
    if let Some((was, _)) = last.and_then(|last| tree.flips.get(last)) {
        let mut other = node.flipped.clone();
        other.pop();
        other.push(next);
        nodes.push(Node { value: node.value / was * cost, tree: node.tree, flipped: other });
    }
    nodes
}

impl Ord for Node {
    fn cmp(&self, other: &Self) -> Ordering {
        let older = other.tree.cmp(&self.tree);
        self.value.total_cmp(&other.value).then(older).then_with(|| other.flipped.cmp(&self.flipped))
    }
}

impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Node {}
