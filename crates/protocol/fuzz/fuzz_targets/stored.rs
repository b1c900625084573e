//! Bytes where our own words are expected: records, snapshots, jobs, reports, events, calls and answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::from_slice;
use yardmaster_protocol::{
    Entry, ErrorReply, Event, GateJob, LogReply, LogRequest, QueueReply, RequestView, RunReport, StatusReply,
    SubmitReply, WithdrawReply, WithdrawRequest,
};
use yardmaster_queue::Queue;

macro_rules! round_trip {
    ($bytes:expr, $($kind:ty),+) => {$(
        if let Ok(read) = from_slice::<$kind>($bytes) {
            let written = serde_json::to_vec(&read).expect("written");
            let again: $kind = from_slice(&written).expect("read back");
            assert_eq!(read, again);
        }
    )+};
}

fuzz_target!(|bytes: &[u8]| {
    round_trip!(bytes, Entry, Vec<Entry>, GateJob, RunReport, Event, ErrorReply, LogReply, LogRequest);
    round_trip!(bytes, QueueReply, RequestView, StatusReply, SubmitReply, WithdrawReply, WithdrawRequest);
    if let Ok(entry) = from_slice::<Entry>(bytes) {
        let mut queue = Queue::new();
        let _ = queue.replay(&entry);
        let _ = queue.check();
    }
    if let Ok(queue) = Queue::from_snapshot(bytes) {
        let written = queue.to_snapshot().expect("written");
        let again = Queue::from_snapshot(&written).expect("read back");
        assert_eq!(written, again.to_snapshot().expect("written"));
    }
});
