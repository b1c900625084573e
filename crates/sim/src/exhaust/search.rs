use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use super::flaw::Flaw;
use super::scenario::Scenario;
use super::state::{Faults, State};
use super::world::{Move, World};
use crate::rng::mix;
use crate::violation::Violation;

/// What is to be explored.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What the agents want.
    pub scenario: Scenario,
    /// What may go wrong.
    pub faults: Faults,
    /// What is broken on purpose.
    pub flaw: Option<Flaw>,
    /// Daemons that cannot write any more stay in the world. Otherwise each leaves at once, and leaves
    /// the push that its plan has as one that may arrive at any time or never: all that it could
    /// still do to anybody.
    pub sleepers: bool,
    /// More states than this are an error.
    pub most_states: u32,
}

/// A world that was explored completely.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Explored {
    /// Different states.
    pub states: u64,
    /// Moves between them.
    pub moves: u64,
    /// The longest of the shortest ways to a state, in moves.
    pub depth: u32,
    /// States in which everything has ended.
    pub over: u64,
    /// Different queues among them.
    pub queues: u64,
    /// How long it took.
    pub took: Duration,
}

impl Explored {
    /// Adds what another case came to.
    pub fn add(&mut self, other: &Explored) {
        self.states += other.states;
        self.moves += other.moves;
        self.depth = self.depth.max(other.depth);
        self.over += other.over;
        self.queues += other.queues;
        self.took += other.took;
    }
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explored { states, moves, depth, over, queues, took } = self;
        let seconds = took.as_secs_f64();
        write!(
            f,
            "{states} states, {moves} moves, depth {depth}, {over} with everything ended, \
             {queues} queues; {seconds:.1} s"
        )
    }
}

/// The shortest way to something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterexample {
    /// What is broken.
    pub violation: Violation,
    /// Every move from the beginning.
    pub story: Vec<String>,
}

/// Where a state was first reached from.
struct Reached {
    from: u32,
    by: Option<Move>,
    depth: u32,
    over: bool,
}

/// Visits every state that `case` can reach, in the order of their distance from the beginning.
///
/// # Errors
/// The shortest way to a state that breaks a rule, or from which nothing ends without help.
pub fn explore(case: &Case) -> Result<Explored, Box<Counterexample>> {
    let started = Instant::now();
    let world = World::new(case);
    let world = world.map_err(|violation| Box::new(Counterexample { violation, story: Vec::new() }))?;
    let mut search = Search::begin(world);
    search.visit_all(case.most_states)?;
    search.everything_can_end()?;
    Ok(Explored {
        states: search.reached.len() as u64,
        moves: search.moves,
        depth: search.reached.last().map_or(0, |r| r.depth),
        over: search.reached.iter().filter(|r| r.over).count() as u64,
        queues: search.world.minds.len() as u64,
        took: started.elapsed(),
    })
}

struct Search {
    world: World,
    numbers: HashMap<u128, u32>,
    reached: Vec<Reached>,
    waiting: VecDeque<(u32, State)>,
    /// Moves that need no bad luck, from and to.
    fair: Vec<(u32, u32)>,
    moves: u64,
}

impl Search {
    fn begin(world: World) -> Search {
        let first = world.first();
        let mut search = Search {
            world,
            numbers: HashMap::new(),
            reached: Vec::new(),
            waiting: VecDeque::new(),
            fair: Vec::new(),
            moves: 0,
        };
        search.reach(first, 0, None);
        search
    }

    /// The number of a state, a new one when it was not known.
    fn reach(&mut self, state: State, from: u32, by: Option<Move>) -> u32 {
        let next = u32::try_from(self.reached.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(fingerprint(&state)).or_insert(next);
        if number == next {
            let depth = by.map_or(0, |_| self.reached[from as usize].depth + 1);
            let over = self.world.is_over(&state);
            self.reached.push(Reached { from, by, depth, over });
            self.waiting.push_back((number, state));
        }
        number
    }

    fn visit_all(&mut self, most: u32) -> Result<(), Box<Counterexample>> {
        while let Some((number, state)) = self.waiting.pop_front() {
            let moves = match self.world.moves(&state) {
                Ok(moves) => moves,
                Err((by, violation)) => return Err(self.counterexample(number, Some(by), violation)),
            };
            for (by, after) in moves {
                self.moves += 1;
                let to = self.reach(after, number, Some(by));
                if by.is_fair() && to != number {
                    self.fair.push((number, to));
                }
            }
            if self.reached.len() > most as usize {
                let why = format!("more than {most}");
                return Err(self.counterexample(number, None, Violation::new("few enough states", why)));
            }
        }
        Ok(())
    }

    /// From every state there is a way, without bad luck and without somebody's help, to one in which
    /// all has ended. Of finitely many states, whoever keeps going gets there.
    fn everything_can_end(&mut self) -> Result<(), Box<Counterexample>> {
        let mut ends: Vec<bool> = self.reached.iter().map(|r| r.over).collect();
        self.fair.sort_unstable_by_key(|(_, to)| *to);
        let mut todo: Vec<u32> = (0u32..).zip(&ends).filter(|(_, over)| **over).map(|(n, _)| n).collect();
        while let Some(number) = todo.pop() {
            let first = self.fair.partition_point(|(_, to)| *to < number);
            for (from, _) in self.fair[first..].iter().take_while(|(_, to)| *to == number) {
                if !std::mem::replace(&mut ends[*from as usize], true) {
                    todo.push(*from);
                }
            }
        }
        match (0u32..).zip(&ends).find(|(_, ends)| !**ends) {
            None => Ok(()),
            Some((stuck, _)) => {
                let violation = Violation::new("everything ends", "from here on nothing leads to an end");
                Err(self.counterexample(stuck, None, violation))
            }
        }
    }

    fn counterexample(&self, at: u32, last: Option<Move>, violation: Violation) -> Box<Counterexample> {
        let mut story: Vec<String> = last.iter().map(ToString::to_string).collect();
        let mut at = at;
        while let Some(by) = self.reached[at as usize].by {
            story.push(by.to_string());
            at = self.reached[at as usize].from;
        }
        story.reverse();
        Box::new(Counterexample { violation, story })
    }
}

/// 128 bits of a state: two different ones that share them are not to be expected in any run.
fn fingerprint(state: &State) -> u128 {
    let mut lanes = Lanes(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344);
    state.hash(&mut lanes);
    u128::from(mix(lanes.0)) << 64 | u128::from(mix(lanes.1))
}

struct Lanes(u64, u64);

impl Lanes {
    fn word(&mut self, word: u64) {
        self.0 = mix(self.0 ^ word.wrapping_mul(0x9e37_79b1_85eb_ca87));
        self.1 = mix(self.1.rotate_left(23) ^ word.wrapping_mul(0xc2b2_ae3d_27d4_eb4f));
    }
}

impl Hasher for Lanes {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word) ^ (chunk.len() as u64) << 56);
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.word(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.word(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.word(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.word(n as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
