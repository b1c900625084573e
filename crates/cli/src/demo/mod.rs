//! The demo: a remote, a daemon with a NATS server of its own, and agents, all real and all in one
//! directory that is gone afterwards.

mod cast;
mod finale;
mod place;
mod project;
mod stage;
mod verify;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use yardmaster_bus::{Bus, BusOptions, Client, EventStart};
use yardmaster_daemon::{Flags, Settings};
use yardmaster_protocol::AgentName;

use crate::error::CliError;
use crate::exit::Exit;
use crate::screen::{self, Line, Out, style};
use cast::{CAST, Role};
use finale::Figures;
use place::Place;
use stage::Stage;

const FRAME: Duration = Duration::from_millis(80);
/// The whole takes about ten seconds; so long after that nobody believes in an end.
const LONGEST: Duration = Duration::from_secs(120);

/// A demo that has its directory and its remote, and wants a daemon.
pub(crate) struct Demo {
    place: Place,
    stage: Stage,
    out: Out,
}

impl Demo {
    pub(crate) async fn prepare(keep: Option<PathBuf>, out: Out) -> Result<Demo, CliError> {
        let place = Place::make(keep.as_deref())?;
        let mut stage = Stage::open(out);
        stage.say(
            Line::styled(style::BOLD, "yardmaster demo")
                .text(" · real git, a real NATS server, real agents and tests"),
        );
        let kept = if keep.is_some() { "kept" } else { "gone afterwards" };
        stage.say(Line::styled(style::DIM, format!("  everything is in {}, {kept}", place.dir().display())));
        place.make_remote().await?;
        stage.say(Line::styled(
            style::DIM,
            "  a remote with a small project, its gate in .yardmaster.toml on main",
        ));
        Ok(Demo { place, stage, out })
    }

    /// What the daemon is to be told.
    pub(crate) fn settings(&self, slots: u32) -> Result<Settings, CliError> {
        let mut settings = Settings::isolated(&Flags {
            remote: Some(self.place.remote().to_string_lossy().into_owned()),
            state_dir: Some(self.place.state()),
            slots: Some(slots),
            name: Some("demo".to_owned()),
            ..Flags::default()
        })?;
        // Each of the ten is to be seen tested and landed by itself.
        settings.policy.batch_max = 1;
        Ok(settings)
    }

    /// Has the agents work and announce, and shows what comes of it, until every one has its answer and
    /// the remote was looked at again.
    pub(crate) async fn play(&mut self, nats_url: &str) -> Result<Exit, CliError> {
        self.stage
            .say(Line::styled(style::DIM, format!("  a daemon on a nats-server of its own at {nats_url}")));
        let heads = self.push_all().await?;
        let client = connect(nats_url).await?;
        let mut events = client.events(EventStart::All).await?;
        self.announce_all(nats_url, heads).await?;

        let over = timeout(LONGEST, self.watch(&client, &mut events)).await;
        let figures = Figures { runs: self.stage.runs, seconds: self.stage.elapsed().as_secs_f64() };
        if over.is_err() {
            self.stage.close();
            return Err(CliError::Demo(format!(
                "only {} of {} agents had an answer after {} s",
                self.stage.endings.len(),
                CAST.len(),
                LONGEST.as_secs()
            )));
        }
        over.unwrap_or(Ok(()))?;
        self.stage
            .say(Line::styled(style::DIM, "  all have their answers; every commit of main is tested again"));
        self.stage.close();
        let verified = verify::verify(&self.place, &self.stage.endings).await?;
        if self.out.json {
            self.out.object(&finale::object(&verified, &self.stage.endings, figures))?;
        } else {
            self.out.lines(finale::told(&verified, &self.stage.endings, figures, screen::width()))?;
        }
        let right = verified.checks.iter().all(|c| c.ok);
        Ok(if right { Exit::DONE } else { Exit::UNEXPECTED })
    }

    /// Every agent clones, changes, commits and pushes, all at the same time.
    async fn push_all(&mut self) -> Result<Vec<String>, CliError> {
        let mut agents = JoinSet::new();
        let place = std::sync::Arc::new(self.place.view());
        for (i, role) in CAST.iter().enumerate() {
            let place = std::sync::Arc::clone(&place);
            agents.spawn(async move { place.work(role).await.map(|head| (i, head)) });
        }
        let mut heads = vec![String::new(); CAST.len()];
        while let Some(pushed) = agents.join_next().await {
            let (i, head) = pushed.map_err(|e| CliError::Unexpected(e.to_string()))??;
            heads[i] = head;
        }
        let told = format!(
            "  {} agents cloned, changed, committed and pushed, each a branch of its own",
            CAST.len()
        );
        self.stage.say(Line::styled(style::DIM, told));
        Ok(heads)
    }

    /// One message each, as plain JSON on the agent's own subject and connection, the frontend first.
    async fn announce_all(&mut self, nats_url: &str, heads: Vec<String>) -> Result<(), CliError> {
        let mut agents = Vec::new();
        for (role, head) in CAST.iter().zip(heads) {
            agents.push((role, head, connect(nats_url).await?));
        }
        for (role, head, client) in agents {
            announce(&client, role, &head).await?;
        }
        self.stage.say(Line::styled(
            style::DIM,
            "  all announced at once, in the wrong order: frontend, backend, infrastructure",
        ));
        Ok(())
    }

    async fn watch(
        &mut self,
        client: &Client,
        events: &mut yardmaster_bus::EventStream,
    ) -> Result<(), CliError> {
        let mut frame = interval(FRAME);
        frame.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !self.stage.is_over() {
            tokio::select! {
                event = events.next() => {
                    if let Some(event) = event?.event {
                        self.stage.happened(&event);
                    }
                }
                _ = frame.tick(), if self.stage.is_live() => {
                    self.stage.update(client.queue().await?);
                    self.stage.draw();
                }
            }
        }
        Ok(())
    }
}

async fn announce(client: &Client, role: &Role, head: &str) -> Result<(), CliError> {
    let agent = AgentName::new(role.agent).map_err(|e| CliError::Unexpected(e.to_string()))?;
    let message = json!({
        "type": "ready_to_merge",
        "merge_info": {
            "agent": role.agent,
            "branch": role.branch,
            "requirement": role.requirement,
            "commit": head,
            "title": role.title,
            "systems_touched": [role.system],
            "priority": role.priority,
        }
    });
    client.publish_announcement(&agent, message.to_string().as_bytes()).await?;
    Ok(())
}

async fn connect(url: &str) -> Result<Client, CliError> {
    let options = BusOptions { url: url.to_owned(), name: "demo".to_owned(), ..BusOptions::default() };
    let source_of_url = "the demo's own server".to_owned();
    let bus = Bus::connect(options).await.map_err(|error| CliError::Nats { error, source_of_url })?;
    Ok(bus.client())
}
