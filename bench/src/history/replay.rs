use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use git2::{Oid, Repository};
use serde_json::{Value, json};

use super::select::Merge;
use crate::agents::{Agents, Heard, announcement};
use crate::daemon::{Program, Serve};
use crate::nats::{Server, Sync};
use crate::{Trouble, git};

const SILENCE: Duration = Duration::from_secs(60);
const TERMINAL: [&str; 4] = ["merge_complete", "merge_failed", "merge_withdrawn", "merge_superseded"];

/// What became of one request, read from the remote and from the events.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    Landed { tree: Oid, parents: Vec<Oid> },
    Conflict { paths: Vec<String> },
    Other(String),
}

/// A server and a remote that live longer than the daemons that work on them.
pub(super) struct Replay<'a> {
    program: &'a Program,
    server: Server,
    agents: Agents,
    source: PathBuf,
    remote: PathBuf,
    state_dir: PathBuf,
}

impl<'a> Replay<'a> {
    pub(super) async fn begin(
        program: &'a Program,
        scratch: &Path,
        source: &Path,
        remote: &Path,
    ) -> Result<Replay<'a>, Trouble> {
        let server = Server::start(&scratch.join("nats"), Sync::Always).await?;
        let agents = Agents::connect(server.url()).await?;
        Ok(Replay {
            program,
            server,
            agents,
            source: source.to_owned(),
            remote: remote.to_owned(),
            state_dir: scratch.join("state"),
        })
    }

    /// Pushes both parents of every merge, announces the second ones, and waits until each has ended.
    pub(super) async fn group(&mut self, merges: &[Merge]) -> Result<Vec<Outcome>, Trouble> {
        self.push(merges)?;
        let mut heard = self.agents.listen("*").await?;
        let targets: Vec<String> = merges.iter().map(Merge::target).collect();
        let env = [
            ("YARDMASTER__REPO__TARGET", targets.first().cloned().unwrap_or_default()),
            ("YARDMASTER__REPO__TARGETS", targets.join(",")),
        ];
        let daemon = self
            .program
            .serve(&Serve {
                nats_url: self.server.url(),
                remote: &self.remote,
                state_dir: &self.state_dir,
                gate: "none",
                slots: 1,
                env: &env,
            })
            .await?;
        self.announce(merges).await?;
        let ends = ends(&mut heard, merges.len()).await?;
        daemon.stop().await?;
        merges.iter().map(|merge| self.outcome(merge, ends.get(&merge.branch()))).collect()
    }

    pub(super) async fn end(self) {
        self.server.stop().await;
    }

    fn push(&self, merges: &[Merge]) -> Result<(), Trouble> {
        let remote = self.remote.to_string_lossy().into_owned();
        let refspecs = merges.iter().flat_map(|m| {
            [
                format!("{}:refs/heads/{}", m.first, m.target()),
                format!("{}:refs/heads/{}", m.second, m.branch()),
            ]
        });
        let args: Vec<String> =
            ["push", "--quiet", &remote].map(str::to_owned).into_iter().chain(refspecs).collect();
        git::run(&self.source, &args.iter().map(String::as_str).collect::<Vec<_>>()).map(drop)
    }

    async fn announce(&self, merges: &[Merge]) -> Result<(), Trouble> {
        let message = |m: &Merge| {
            announcement(
                "historian",
                &m.branch(),
                &json!({"target": m.target(), "commit": m.second.to_string()}),
            )
        };
        self.agents.publish("work.integration.historian", merges.iter().map(message).collect()).await
    }

    fn outcome(&self, merge: &Merge, end: Option<&Value>) -> Result<Outcome, Trouble> {
        let repo = Repository::open_bare(&self.remote)?;
        let tip = repo.find_reference(&format!("refs/heads/{}", merge.target()))?.peel_to_commit()?;
        let moved = tip.id() != merge.first;
        let Some(end) = end else { return Ok(Outcome::Other("it never ended".to_owned())) };
        let is_conflict = end["type"] == "merge_failed" && end["cause"] == "conflict";
        Ok(match end["type"].as_str() {
            Some("merge_complete") if moved => {
                Outcome::Landed { tree: tip.tree_id(), parents: tip.parent_ids().collect() }
            }
            _ if is_conflict && !moved => Outcome::Conflict { paths: paths(&end["evidence"]["paths"]) },
            _ => Outcome::Other(format!("target moved: {moved}; {end}")),
        })
    }
}

fn paths(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

async fn ends(heard: &mut Heard, count: usize) -> Result<BTreeMap<String, Value>, Trouble> {
    heard.by_branch(count, SILENCE, |event| TERMINAL.iter().any(|t| event["type"] == *t)).await
}
