//! Any text as `.yardmaster.toml`: a gate within its limits, or a mistake that fits into one record.
#![no_main]

use libfuzzer_sys::fuzz_target;
use yardmaster_protocol::{MAX_STEPS, Project};

fuzz_target!(|text: &str| {
    match Project::parse(text) {
        Ok(project) => {
            let Some(gate) = project.gate else { return };
            assert!((1..=MAX_STEPS).contains(&gate.steps.len()));
            assert!(gate.steps.iter().all(|s| s.timeout_ms > 0 && !s.run.trim().is_empty()));
            let _ = (gate.id(), gate.timeout_ms());
            let written = serde_json::to_vec(&gate).expect("written");
            assert_eq!(gate, serde_json::from_slice(&written).expect("read back"));
        }
        Err(why) => assert!(why.to_string().len() < 8 * 1024, "{} bytes of words", why.to_string().len()),
    }
});
