//! Every counterfactual of `explain` is acted on, in some histories: `YARDMASTER_SIM_SEEDS` says how many.

use yardmaster_sim::{Told, foretell};

#[test]
fn what_is_foretold_comes_true() {
    let seeds = std::env::var("YARDMASTER_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60_u64);
    let mut told = Told::new();
    for seed in 0..seeds {
        match foretell(seed) {
            Ok(found) => found.into_iter().for_each(|(what, n)| *told.entry(what).or_default() += n),
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
    }
    println!("{told:?}");
    for what in ["explained", "estimated", "withdraw", "lands next", "landed next", "priority", "rebase"] {
        assert!(told.get(what).is_some_and(|n| *n > 0), "{what} never came up: {told:?}");
    }
}
