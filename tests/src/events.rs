use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::sync::watch;

use crate::PATIENCE;

/// One message as it came.
#[derive(Debug, Clone)]
pub struct Message {
    /// `work.releases.…`.
    pub subject: String,
    /// The first value of each header.
    pub headers: BTreeMap<String, String>,
    /// What it says.
    pub event: Value,
}

impl Message {
    /// Reads what NATS delivered.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn of(subject: &str, headers: Option<&async_nats::HeaderMap>, payload: &[u8]) -> Message {
        let first = |(name, values): (&async_nats::HeaderName, &Vec<async_nats::HeaderValue>)| {
            Some((name.to_string(), values.first()?.to_string()))
        };
        Message {
            subject: subject.to_owned(),
            headers: headers.map(|h| h.iter().filter_map(first).collect()).unwrap_or_default(),
            event: serde_json::from_slice(payload).expect("events are JSON"),
        }
    }
}

/// Everything that was published on `work.releases.*`, in order.
#[derive(Debug, Clone)]
pub struct Events {
    seen: Arc<Mutex<Vec<Message>>>,
    count: watch::Receiver<usize>,
}

impl Events {
    /// Listens to all events from now on.
    pub async fn listen(nats: &async_nats::Client) -> Events {
        Events::listen_to(nats, "work.releases.*").await
    }

    /// Listens to a subject from now on.
    pub async fn listen_to(nats: &async_nats::Client, subject: &'static str) -> Events {
        let mut subscription = nats.subscribe(subject).await.expect("subscribed");
        nats.flush().await.expect("flushed");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (counted, count) = watch::channel(0);
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Some(message) = subscription.next().await {
                let event = Message::of(&message.subject, message.headers.as_ref(), &message.payload);
                let total = {
                    let mut kept = kept.lock().expect("nobody panics here");
                    kept.push(event);
                    kept.len()
                };
                counted.send_replace(total);
            }
        });
        Events { seen, count }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Value> {
        self.messages().into_iter().map(|m| m.event).collect()
    }

    /// All of them, with their headers.
    pub fn messages(&self) -> Vec<Message> {
        self.seen.lock().expect("nobody panics here").clone()
    }

    /// Those of one branch, by type without `merge_`.
    pub fn of(&self, branch: &str) -> Vec<String> {
        let of_branch = |e: &Value| e["branch"] == branch;
        let short =
            |e: &Value| e["type"].as_str().unwrap_or_default().trim_start_matches("merge_").to_owned();
        self.all().iter().filter(|e| of_branch(e)).map(short).collect()
    }

    /// Waits until one fits, and returns the first that does.
    ///
    /// # Panics
    /// With everything that came when none fits in time.
    pub async fn wait_for(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut count = self.count.clone();
        let look = async {
            loop {
                if let Some(found) = self.all().into_iter().find(|e| fits(e)) {
                    return found;
                }
                if count.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(found) => found,
            Err(_) => panic!("no {what} among:\n{}", self.told()),
        }
    }

    /// Waits for an event of a branch by its type without `merge_`.
    pub async fn of_type(&self, branch: &str, kind: &str) -> Value {
        let full = format!("merge_{kind}");
        self.wait_for(&format!("{kind} of {branch}"), |e| e["branch"] == branch && e["type"] == full).await
    }

    /// Waits for the terminal event of a branch.
    pub async fn end_of(&self, branch: &str) -> Value {
        let terminal = ["merge_complete", "merge_failed", "merge_withdrawn", "merge_superseded"];
        self.wait_for(&format!("end of {branch}"), |e| {
            e["branch"] == branch && terminal.iter().any(|t| e["type"] == *t)
        })
        .await
    }

    /// For people, one line each.
    pub fn told(&self) -> String {
        self.all().iter().map(|e| format!("{e}\n")).collect()
    }
}
