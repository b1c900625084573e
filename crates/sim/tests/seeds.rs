//! Some histories, with the tests: `YARDMASTER_SIM_SEEDS` says how many. What users were told in them is in
//! `words.txt`; with `YARDMASTER_SIM_WORDS=write` what is new is added to it.

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn every_invariant_holds_in_some_histories_and_nothing_new_is_said() {
    let seeds = std::env::var("YARDMASTER_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60_u64);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/words.txt");
    let known: BTreeSet<String> =
        std::fs::read_to_string(&page).unwrap_or_default().lines().map(str::to_owned).collect();
    let mut new = BTreeSet::new();
    let writes = std::env::var_os("YARDMASTER_SIM_WORDS").is_some();
    for seed in 0..seeds {
        let history = yardmaster_sim::run(seed, false);
        assert!(history.result.is_ok(), "seed {seed}: {}", history.result.unwrap_err());
        new.extend(history.words.difference(&known).cloned());
        assert!(writes || new.is_empty(), "seed {seed}: not in words.txt: {new:#?}");
    }
    if writes {
        let all: Vec<String> = known.into_iter().chain(new).collect::<BTreeSet<_>>().into_iter().collect();
        std::fs::write(&page, all.join("\n") + "\n").expect("words.txt is written");
    }
}

/// Histories that once showed a mistake: 1280, two red runs whose members overlap set each other back for ever;
/// 2379, half of a unit is red only together with the other half; 355, who was moved to the front and set aside took
/// its place there again when somebody else was added; 632 and 2361, the judge did not know of such a one, and
/// took a paused target for one at rest; 3748, a unit got its places beside somebody that it is kept apart from;
/// 4227, so did one that was moved to the front, behind another that was moved and waited. 710086: two that land
/// together or not at all were refused by the remote, and pushed again for ever. 2000522: the judge did not know that
/// another head of the same change makes the same tree; 1003373, nor that a unit is
/// refused for any of its members. 1001709: somebody was tested around above the window. 41258: after a refused push those
/// that land as one unit were never pushed again where each push is what counts; 39562 and 42561: one that does not need
/// its mates any more waited for them for ever, without a word. 37395 and 88623: the judge did not know that who took
/// somebody's place stands for it, nor that who is being pushed is as good as decided.
#[test]
fn what_was_found_once_stays_mended() {
    for seed in [
        355, 632, 1280, 2361, 2379, 3748, 4227, 37_395, 39_562, 41_258, 42_561, 88_623, 710_086, 1_001_709,
        1_003_373, 2_000_522,
    ] {
        let history = yardmaster_sim::run(seed, false);
        assert!(history.result.is_ok(), "seed {seed}: {}", history.result.unwrap_err());
    }
}
