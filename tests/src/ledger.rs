use std::collections::{BTreeMap, BTreeSet};

use async_nats::jetstream;
use serde_json::Value;

use crate::{House, Message, OnMain};

/// Everything that the stream of events holds, checked against what must always hold.
pub struct Ledger {
    /// In the order of the stream.
    pub messages: Vec<Message>,
}

const TERMINAL: [&str; 4] = ["merge_complete", "merge_failed", "merge_withdrawn", "merge_superseded"];

fn is_terminal(event: &Value) -> bool {
    TERMINAL.iter().any(|t| event["type"] == *t)
}

impl Ledger {
    /// Reads the whole stream.
    pub async fn read(nats: &async_nats::Client) -> Ledger {
        let js = jetstream::new(nats.clone());
        let stream = js.get_stream("RELEASES").await.expect("a stream");
        let state = stream.cached_info().state.clone();
        let mut messages = Vec::new();
        for sequence in state.first_sequence.max(1)..=state.last_sequence {
            let message = stream.get_raw_message(sequence).await.expect("a message");
            messages.push(Message::of(&message.subject, Some(&message.headers), &message.payload));
        }
        Ledger { messages }
    }

    /// Events of each request, in order.
    pub fn by_request(&self) -> BTreeMap<String, Vec<&Value>> {
        let mut requests: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for message in &self.messages {
            if let Some(request) = message.event["request"].as_str() {
                requests.entry(request.to_owned()).or_default().push(&message.event);
            }
        }
        requests
    }

    /// Asserts what [`Ledger::check_unended`] does, and that every request has ended.
    pub fn check(&self) {
        self.check_unended();
        for (request, events) in self.by_request() {
            assert!(events.last().is_some_and(|e| is_terminal(e)), "{request} has no end:\n{}", self.told());
        }
    }

    /// Asserts that nothing is told twice, that each request's events count from 1 without a gap, and that
    /// nothing comes after a terminal one.
    pub fn check_unended(&self) {
        let ids: BTreeSet<_> = self.messages.iter().map(|m| m.headers.get("Nats-Msg-Id")).collect();
        assert_eq!(ids.len(), self.messages.len(), "an event id came twice:\n{}", self.told());
        for (request, events) in self.by_request() {
            let seqs: Vec<u64> = events.iter().filter_map(|e| e["seq"].as_u64()).collect();
            let counted: Vec<u64> = (1..=events.len() as u64).collect();
            assert_eq!(seqs, counted, "events of {request} do not count from 1:\n{}", self.told());
            let before_last = events.iter().rev().skip(1);
            assert!(
                !before_last.into_iter().any(|e| is_terminal(e)),
                "{request} goes on after its end:\n{}",
                self.told()
            );
        }
    }

    /// For people, one line each.
    pub fn told(&self) -> String {
        self.messages.iter().map(|m| format!("{}\n", m.event)).collect()
    }
}

impl House {
    /// Reads the stream of events, checks it, and holds it against the history of `main`: what is told to be
    /// complete is there, once, as it was told, and nothing else of ours is.
    pub async fn check(&self) -> Ledger {
        let ledger = Ledger::read(&self.nats).await;
        ledger.check();
        let mut landed = BTreeMap::new();
        for OnMain { id, tree, request, rollup } in self.remote.on_main() {
            let Some(request) = request else { continue };
            let before = landed.insert(request.clone(), (id, tree, rollup.unwrap_or_default()));
            assert_eq!(before, None, "{request} is on main twice");
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let complete = ledger.messages.iter().map(|m| &m.event).filter(|e| e["type"] == "merge_complete");
        let told: BTreeMap<_, _> = complete
            .filter(|e| !e["commit"].is_null())
            .map(|e| (text(&e["request"]), (text(&e["commit"]), text(&e["tree"]), text(&e["rollup"]))))
            .collect();
        assert_eq!(told, landed, "what is told and what is on main differ:\n{}", ledger.told());
        ledger
    }
}
