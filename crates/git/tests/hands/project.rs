use yardmaster_git::{PinAsk, Unusable};
use yardmaster_protocol::{Assembly, CandidateSpec, CommitId, RequestId};

use crate::remote::{World, branch, main, spec};

const PROJECT: &str = ".yardmaster.toml";
const GATE: &str = "[gate]\nrun = \"make test\"\n";

/// With a project file, code owners, and a branch for each change.
fn world(changes: &[&dyn Fn(&World)]) -> (World, Vec<CommitId>) {
    let world = World::new();
    world.write(PROJECT, &format!("{GATE}[scope]\ncodeowners = \"docs/OWNERS\"\n"));
    world.write("docs/OWNERS", "* @ann\n");
    world.commit("rules");
    world.push("main");
    let branch = |(n, change): (usize, &&dyn Fn(&World))| world.branch(&format!("roy/{n}"), change);
    let heads = changes.iter().enumerate().map(branch).collect();
    (world, heads)
}

/// What becomes of the branches on top of each other: where each stands, and what it breaks.
fn stacked(world: &World, heads: &[CommitId], needs_gate: bool) -> Vec<Result<(), Unusable>> {
    let mirror = world.mirror();
    let tip = mirror.look(&main(), None, &[]).expect("a sighting").tip;
    let ask =
        |n: usize| PinAsk { request: RequestId(n as u64), branch: branch(&format!("roy/{n}")), commit: None };
    mirror.pin(&(0..heads.len()).map(ask).collect::<Vec<_>>(), tip).expect("the remote answers");
    let spec = |(n, head): (usize, &CommitId)| CandidateSpec { needs_gate, ..spec(n as u64, *head) };
    let specs: Vec<CandidateSpec> = heads.iter().enumerate().map(spec).collect();
    let stack = mirror.assemble(tip, &specs).expect("assembled");
    let mut base = tip;
    let told = stack.iter().map(|made| {
        assert_eq!(made.base, base, "on the last one that can be used: {stack:?}");
        match &made.assembly {
            Assembly::Clean { commit, .. } => {
                base = *commit;
                Ok(())
            }
            Assembly::BreaksProject { paths, why } => {
                Err(Unusable { paths: paths.clone(), why: why.clone() })
            }
            other => panic!("{other:?}"),
        }
    });
    told.collect()
}

fn only_the_project(why: &str) -> Result<(), Unusable> {
    Err(Unusable { paths: vec![PROJECT.to_owned()], why: why.to_owned() })
}

#[test]
fn a_project_that_could_not_be_used_is_refused_and_the_next_one_stands_on_what_was_there() {
    let (world, heads) = world(&[
        &|w| w.write(PROJECT, "[gate]\nrnu = \"make test\"\n"),
        &|w| w.write("web/one.txt", "1\n"),
        &|w| drop(w.git(&["rm", "-q", "docs/OWNERS"])),
        &|w| w.write("docs/OWNERS", "docs/[ab] @ann\n"),
        &|w| w.write(PROJECT, "[scope]\n"),
        &|w| drop(w.git(&["rm", "-q", PROJECT])),
        &|w| w.write(PROJECT, "[gate]\nrun = \"make check\"\n"),
    ]);
    let told = stacked(&world, &heads, true);
    let Err(unknown) = &told[0] else { panic!("{told:?}") };
    assert_eq!(unknown.paths, [PROJECT]);
    assert!(unknown.why.contains("unknown field `rnu`"), "{}", unknown.why);
    assert_eq!((&told[1], &told[6]), (&Ok(()), &Ok(())));
    for (at, why) in [(2, "is not there"), (3, "cannot be used")] {
        let Err(owners) = &told[at] else { panic!("{told:?}") };
        assert_eq!(owners.paths, [PROJECT, "docs/OWNERS"]);
        assert!(owners.why.contains(why), "{}", owners.why);
    }
    assert_eq!(told[4], only_the_project("`.yardmaster.toml` would have no `[gate]`"));
    let gone = "`.yardmaster.toml`, which says how candidates are tested, would be gone";
    assert_eq!(told[5], only_the_project(gone));
}

/// Where the gate is given with `--gate`.
#[test]
fn a_project_needs_no_gate_where_one_is_given() {
    for change in [&(|w: &World| w.write(PROJECT, "[scope]\n")) as &dyn Fn(&World), &|w| {
        drop(w.git(&["rm", "-q", PROJECT]));
    }] {
        let (world, heads) = world(&[change]);
        assert_eq!(stacked(&world, &heads, false), [Ok(())]);
    }
}

/// Each is good by itself, and git merges them.
#[test]
fn two_changes_that_only_together_break_it_are_told_apart_from_either_alone() {
    let text = format!("{GATE}{}[scope]\n# the end\n", "\n# here is room\n\n".repeat(9));
    let world = World::new();
    world.write(PROJECT, &text);
    world.commit("rules");
    world.push("main");
    let twice = "[review]\nrequired = false\n";
    let heads = [
        world.branch("roy/0", |w| w.write(PROJECT, &text.replace("[scope]", &format!("{twice}[scope]")))),
        world.branch("roy/1", |w| w.write(PROJECT, &text.replace(GATE, &format!("{GATE}{twice}")))),
    ];
    let told = stacked(&world, &heads, true);
    let Err(both) = &told[1] else { panic!("{told:?}") };
    assert_eq!(told[0], Ok(()));
    assert!(both.why.contains("duplicate"), "{}", both.why);
}

/// What is on the target already is nobody's fault who leaves it as it is.
#[test]
fn who_does_not_touch_it_breaks_nothing() {
    let world = World::new();
    world.write(PROJECT, "nonsense");
    world.commit("rules");
    world.push("main");
    let heads = [
        world.branch("roy/0", |w| w.write("web/one.txt", "1\n")),
        world.branch("roy/1", |w| w.write(PROJECT, GATE)),
    ];
    assert_eq!(stacked(&world, &heads, true), [Ok(()), Ok(())]);
}
