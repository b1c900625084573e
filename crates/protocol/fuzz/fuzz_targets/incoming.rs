//! Any bytes as a message: understood or refused with a text that can be printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use yardmaster_protocol::Incoming;

fuzz_target!(|payload: &[u8]| {
    match Incoming::parse(payload) {
        Ok(Incoming::ReadyToMerge(announcement)) => {
            let written = serde_json::to_vec(&announcement).expect("written");
            let read = serde_json::from_slice(&written).expect("read back");
            assert_eq!(announcement, read);
        }
        Ok(Incoming::Withdraw(_)) => {}
        Err(refusal) => {
            assert!(refusal.message.len() < 2_000, "{}", refusal.message.len());
            assert!(!refusal.message.chars().any(char::is_control), "{:?}", refusal.message);
        }
    }
});
