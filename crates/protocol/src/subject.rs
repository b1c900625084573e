use crate::{AgentName, BadId};

/// The stream that agents publish to.
pub const STREAM_INTEGRATION: &str = "INTEGRATION";
/// The stream of events.
pub const STREAM_RELEASES: &str = "RELEASES";
/// The stream that reviewers publish to.
pub const STREAM_REVIEWS: &str = "REVIEWS";
/// Before the agent's token.
pub const INTEGRATION_PREFIX: &str = "work.integration.";
/// Before the reviewer's token.
pub const REVIEWS_PREFIX: &str = "work.reviews.";
/// Before the event's token.
pub const RELEASES_PREFIX: &str = "work.releases.";
/// The NATS micro service.
pub const SERVICE_NAME: &str = "yardmaster";
/// Before the verbs of agents and people.
pub const SERVICE_PREFIX: &str = "yardmaster.v1";
/// Before the verbs of operators.
pub const ADMIN_PREFIX: &str = "yardmaster.admin.v1";
/// Before the instance and the verbs of runners.
pub const RUNNER_PREFIX: &str = "yardmaster.runner.v1";

/// Where `agent` announces.
pub fn announce_subject(agent: &AgentName) -> String {
    format!("{INTEGRATION_PREFIX}{agent}")
}

/// Where `reviewer` publishes its verdicts.
pub fn review_subject(reviewer: &AgentName) -> String {
    format!("{REVIEWS_PREFIX}{reviewer}")
}

/// The agent that a subject of the INTEGRATION stream names.
///
/// # Errors
/// When the subject has not exactly one token after the prefix, or the token is no agent's name.
pub fn agent_of_subject(subject: &str) -> Result<AgentName, BadId> {
    agent_after(INTEGRATION_PREFIX, subject)
}

/// The reviewer that a subject of the REVIEWS stream names.
///
/// # Errors
/// As [`agent_of_subject`].
pub fn reviewer_of_subject(subject: &str) -> Result<AgentName, BadId> {
    agent_after(REVIEWS_PREFIX, subject)
}

fn agent_after(prefix: &str, subject: &str) -> Result<AgentName, BadId> {
    let token = subject.strip_prefix(prefix).unwrap_or_default();
    AgentName::new(token)
        .map_err(|_| BadId(format!("subject `{subject}` is not `{prefix}<agent>` with one plain token")))
}

/// Where an event goes: one token after the prefix, so that `work.releases.*` sees all.
pub fn event_subject(token: &str) -> String {
    format!("{RELEASES_PREFIX}{token}")
}

/// Where `agent` gets its copies.
pub fn agent_copy_subject(agent: &AgentName) -> String {
    format!("work.agents.{agent}")
}

/// Before the name of a verb of runners, where verbs of all kinds are listed.
pub const RUNNER_VERB: &str = "runner.";

/// Before the name of a verb of operators, where verbs of both kinds are listed.
pub const ADMIN_VERB: &str = "admin.";

/// The subject of a service verb; `admin.freeze` is the verb `freeze` of operators.
pub fn service_subject(verb: &str) -> String {
    match verb.strip_prefix(ADMIN_VERB) {
        Some(verb) => format!("{ADMIN_PREFIX}.{verb}"),
        None => format!("{SERVICE_PREFIX}.{verb}"),
    }
}
