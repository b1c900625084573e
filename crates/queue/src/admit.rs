//! What agents say at the border: who may say it, what it means, and how it is refused.

use std::collections::BTreeSet;

use yardmaster_protocol::{
    AgentName, Announcement, BadId, BranchName, Fact, Incoming, IntakeSeq, Millis, Refusal, RefusalCode,
    RequestId, Withdrawal, agent_of_subject,
};

use crate::step::Act;

pub(crate) const PAYLOAD_SHOWN: usize = 1_024;

impl Act<'_> {
    pub(crate) fn message(
        &mut self,
        intake: IntakeSeq,
        subject: String,
        published: Millis,
        traceparent: Option<String>,
        payload: &[u8],
    ) {
        if self.queue.taken.contains(intake) || self.queue.index.arriving.contains_key(&intake) {
            return;
        }
        let understood = Incoming::parse(payload).and_then(|incoming| {
            self.allowed(&subject, &incoming)?;
            Ok(incoming)
        });
        match understood {
            Err(refusal) => self.refuse(intake, subject, refusal, payload),
            Ok(Incoming::ReadyToMerge(announcement)) => {
                let target =
                    announcement.target.clone().unwrap_or_else(|| self.policy.default_target.clone());
                let request = RequestId(self.queue.last_request + 1);
                self.emit(Fact::Announced { request, intake, target, published, traceparent, announcement });
            }
            Ok(Incoming::Intent(intent)) => self.intend(intake, intent),
            Ok(Incoming::GatePassed(passed)) => {
                let target = passed.target.clone().unwrap_or_else(|| self.policy.default_target.clone());
                self.emit(Fact::GatePassed { intake, target, passed });
            }
            Ok(Incoming::Withdraw(withdrawal)) => match self.to_withdraw(&withdrawal) {
                Ok(request) => self.withdraw(request, withdrawal.agent.to_string(), Some(intake)),
                Err(_) if self.is_intended(&withdrawal) => self.withdraw_intent(intake, withdrawal),
                Err(refusal) => self.refuse(intake, subject, refusal, payload),
            },
        }
    }

    pub(crate) fn poison(&mut self, intake: IntakeSeq, subject: String, payload: &[u8]) {
        if self.queue.taken.contains(intake) || self.queue.index.arriving.contains_key(&intake) {
            return;
        }
        self.refuse(intake, subject, poisonous(), payload);
    }

    fn refuse(&mut self, intake: IntakeSeq, subject: String, refusal: Refusal, payload: &[u8]) {
        let shown = &payload[..payload.len().min(PAYLOAD_SHOWN)];
        let payload = String::from_utf8_lossy(shown).into_owned();
        self.emit(Fact::Refused { intake, subject, refusal, payload });
    }

    fn allowed(&self, subject: &str, incoming: &Incoming) -> Result<(), Refusal> {
        let agent = match incoming {
            Incoming::ReadyToMerge(a) => &a.agent,
            Incoming::Withdraw(w) => &w.agent,
            Incoming::Intent(i) => &i.agent,
            Incoming::GatePassed(g) => &g.agent,
        };
        if self.policy.bind_agent_to_subject {
            check_agent(agent_of_subject(subject), agent, "merge_info.agent")?;
        }
        match incoming {
            Incoming::ReadyToMerge(a) => self.admissible(a),
            Incoming::Intent(i) => self.is_served(i.target.as_ref()),
            Incoming::GatePassed(g) => {
                self.is_served(g.target.as_ref())?;
                self.is_trusted(subject, &g.agent)
            }
            Incoming::Withdraw(_) => Ok(()),
        }
    }

    /// By the subject, since that is what the server grants.
    fn is_trusted(&self, subject: &str, agent: &AgentName) -> Result<(), Refusal> {
        check_agent(agent_of_subject(subject), agent, "merge_info.agent")?;
        if self.policy.trusted.contains(agent) {
            return Ok(());
        }
        let message = format!(
            "what a gate says counts only from agents in `auth.trusted_runners`, and `{agent}` is not one: announce the \
             branch, and it is tested here"
        );
        Err(Refusal::field(RefusalCode::NotTrusted, "merge_info.agent", message))
    }

    fn admissible(&self, announcement: &Announcement) -> Result<(), Refusal> {
        self.is_served(announcement.target.as_ref())?;
        let target = announcement.target.as_ref().unwrap_or(&self.policy.default_target);
        if announcement.branch == *target {
            let message =
                format!("branch `{target}` is the target itself: announce the branch that your work is on");
            return Err(Refusal::field(RefusalCode::BadValue, "merge_info.branch", message));
        }
        if self.queue.live.len() >= self.policy.max_pending {
            let message = format!(
                "{} requests are pending already, which is the limit: announce again when some have landed",
                self.queue.live.len()
            );
            return Err(Refusal::new(RefusalCode::QueueFull, message));
        }
        let own = self.queue.index.by_agent.get(&announcement.agent).map_or(0, BTreeSet::len);
        if own >= self.policy.max_pending_per_agent {
            let message = format!(
                "{own} requests of `{}` are pending already, which is the limit for one agent: announce again when some of them have ended",
                announcement.agent
            );
            return Err(Refusal::new(RefusalCode::QuotaExceeded, message));
        }
        Ok(())
    }

    fn is_served(&self, target: Option<&BranchName>) -> Result<(), Refusal> {
        let Some(target) = target.filter(|t| !self.policy.targets.contains(*t)) else { return Ok(()) };
        let served: Vec<&str> = self.policy.targets.iter().map(BranchName::as_str).collect();
        let message =
            format!("target `{target}` is not served here: this queue lands on {}", served.join(", "));
        Err(Refusal::field(RefusalCode::UnknownTarget, "merge_info.target", message))
    }

    /// The newest live request that a withdrawal means.
    fn to_withdraw(&self, withdrawal: &Withdrawal) -> Result<RequestId, Refusal> {
        let fits = |(id, r): &(&RequestId, &crate::state::Request)| {
            r.announcement.branch == withdrawal.branch
                && r.announcement.agent == withdrawal.agent
                && withdrawal.request.is_none_or(|wanted| wanted == **id)
        };
        let found = self.queue.live.iter().filter(fits).map(|(id, _)| *id).next_back();
        let id = found.ok_or_else(|| {
            Refusal::new(
                RefusalCode::NothingToWithdraw,
                format!("nothing of `{}` by {} is pending", withdrawal.branch, withdrawal.agent),
            )
        })?;
        if self.is_landing(id) {
            let message = format!("{id} is being pushed at this moment: it is too late to withdraw it");
            return Err(Refusal::new(RefusalCode::NothingToWithdraw, message));
        }
        Ok(id)
    }
}

/// How a message is refused that daemons died of.
pub(crate) fn poisonous() -> Refusal {
    let message = "the daemon died of this message again and again: send it in other words, and keep this one for whoever mends the daemon";
    Refusal::new(RefusalCode::Poison, message)
}

/// Whether the agent that a subject names is the one in the `field` of the message.
pub(crate) fn check_agent(
    of_subject: Result<AgentName, BadId>,
    agent: &AgentName,
    field: &str,
) -> Result<(), Refusal> {
    let refuse = |message: String| Refusal::field(RefusalCode::NotTheAgent, field, message);
    let token = of_subject.map_err(|e| refuse(e.to_string()))?;
    if token != *agent {
        return Err(refuse(format!("the subject belongs to `{token}`, but the message names `{agent}`")));
    }
    Ok(())
}
