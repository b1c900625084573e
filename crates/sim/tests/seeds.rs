//! Some histories, with the tests: `YARDMASTER_SIM_SEEDS` says how many.

#[test]
fn every_invariant_holds_in_some_histories() {
    let seeds = std::env::var("YARDMASTER_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(40_u64);
    for seed in 0..seeds {
        let result = yardmaster_sim::run(seed, false).result;
        assert!(result.is_ok(), "seed {seed}: {}", result.unwrap_err());
    }
}
