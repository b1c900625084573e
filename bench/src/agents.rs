use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, Context};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::Trouble;

const ASK_AGAIN: Duration = Duration::from_millis(50);
const IN_FLIGHT: usize = 256;

/// A plain client, as agents have it.
pub(crate) struct Agents {
    client: async_nats::Client,
    js: Context,
}

/// What agents hear, from the moment on at which they began to listen.
pub(crate) struct Heard {
    subscription: async_nats::Subscriber,
}

impl Agents {
    pub(crate) async fn connect(url: &str) -> Result<Agents, Trouble> {
        let options = async_nats::ConnectOptions::new().subscription_capacity(1 << 18);
        let client = options.connect(url).await?;
        Ok(Agents { js: jetstream::new(client.clone()), client })
    }

    /// Listens to one kind of event, or to all with `*`.
    pub(crate) async fn listen(&self, token: &str) -> Result<Heard, Trouble> {
        let subscription = self.client.subscribe(format!("work.releases.{token}")).await?;
        self.client.flush().await?;
        Ok(Heard { subscription })
    }

    /// Publishes everything on one subject, many in flight, and returns when all of it is stored.
    pub(crate) async fn publish(&self, subject: &str, payloads: Vec<Vec<u8>>) -> Result<(), Trouble> {
        let each = |payload: Vec<u8>| async move {
            let stored = self.js.publish(subject.to_owned(), payload.into()).await?;
            stored.await?;
            Ok::<(), Trouble>(())
        };
        let mut stored = stream::iter(payloads.into_iter().map(each)).buffer_unordered(IN_FLIGHT);
        while let Some(outcome) = stored.next().await {
            outcome?;
        }
        Ok(())
    }

    /// Waits until the daemon knows of so many slots elsewhere.
    pub(crate) async fn wait_for_slots(&self, slots: u64) -> Result<(), Trouble> {
        self.wait_until(&format!("{slots} slots"), |status| status["runner_slots"] == slots).await
    }

    /// Waits until the gate has said yes to the tip of the first target.
    pub(crate) async fn wait_for_green_tip(&self) -> Result<(), Trouble> {
        self.wait_until("a green tip", |status| status["targets"][0]["tip_health"] == "green").await
    }

    /// Asks for the status, without keeping the daemon busy, until it fits.
    async fn wait_until(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<(), Trouble> {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            let reply = self.client.request("yardmaster.v1.status", "{}".into()).await?;
            if fits(&serde_json::from_slice(&reply.payload)?) {
                return Ok(());
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        Err(format!("the daemon does not see {what}").into())
    }

    pub(crate) fn jetstream(&self) -> &Context {
        &self.js
    }
}

impl Heard {
    /// The first event of each branch, until there are so many or nothing comes for `silence`.
    pub(crate) async fn by_branch(
        &mut self,
        count: usize,
        silence: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<BTreeMap<String, Value>, Trouble> {
        let mut heard = BTreeMap::new();
        while heard.len() < count {
            let Ok(next) = tokio::time::timeout(silence, self.subscription.next()).await else { break };
            let message = next.ok_or("the subscription ended")?;
            let event: Value = serde_json::from_slice(&message.payload)?;
            if fits(&event)
                && let Some(branch) = event["branch"].as_str()
            {
                heard.entry(branch.to_owned()).or_insert(event);
            }
        }
        Ok(heard)
    }

    /// How long until so many events were heard.
    pub(crate) async fn wait_for(&mut self, count: usize, since: Instant) -> Result<Duration, Trouble> {
        for heard in 0..count {
            let next = tokio::time::timeout(Duration::from_secs(120), self.subscription.next()).await;
            if !matches!(next, Ok(Some(_))) {
                return Err(format!("{heard} of {count} events came, then nothing for 120 s").into());
            }
        }
        Ok(since.elapsed())
    }
}

/// A `ready_to_merge` message.
pub(crate) fn announcement(agent: &str, branch: &str, more: &Value) -> Vec<u8> {
    let mut info = json!({"agent": agent, "branch": branch, "requirement": format!("REQ-{branch}")});
    if let (Some(info), Some(more)) = (info.as_object_mut(), more.as_object()) {
        info.extend(more.clone());
    }
    json!({"type": "ready_to_merge", "merge_info": info}).to_string().into_bytes()
}
