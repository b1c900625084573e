use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{
    AgentName, Blocker, BlockerKind, CommitId, Fact, IntakeSeq, Refusal, RefusalCode, RequestId, Review,
    ReviewVerdict, reviewer_of_subject,
};

use crate::admit::{PAYLOAD_SHOWN, check_agent, poisonous};
use crate::rules::Rules;
use crate::scope::PATHS_SHOWN;
use crate::state::{Queue, Request};
use crate::step::Act;
use crate::taken::Taken;

/// Heads that nobody has announced, or that have ended, whose verdicts are kept.
const LOOSE_HEADS_KEPT: usize = 1_000;
/// Reviewers of one head.
const MAX_REVIEWERS: usize = 32;
/// Characters of a comment that are shown.
const COMMENT_SHOWN: usize = 500;

/// What reviewers have said, by head. A verdict may come before its head is announced.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Reviews {
    pub(crate) taken: Taken,
    of: BTreeMap<CommitId, BTreeMap<AgentName, Said>>,
}

/// The latest word of one reviewer on one head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Said {
    seq: IntakeSeq,
    verdict: ReviewVerdict,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

impl Act<'_> {
    /// A message of the stream of reviews.
    pub(crate) fn review(&mut self, intake: IntakeSeq, subject: String, payload: &[u8]) {
        if self.queue.reviews.taken.contains(intake) {
            return;
        }
        let understood = Review::parse(payload).and_then(|review| {
            self.may_review(&subject, &review)?;
            Ok(review)
        });
        match understood {
            Ok(review) => self.emit(Fact::Reviewed { intake, review: Box::new(review) }),
            Err(refusal) => self.refuse_review(intake, subject, refusal, payload),
        }
    }

    /// A message of that stream that daemons died of.
    pub(crate) fn poison_review(&mut self, intake: IntakeSeq, subject: String, payload: &[u8]) {
        if !self.queue.reviews.taken.contains(intake) {
            self.refuse_review(intake, subject, poisonous(), payload);
        }
    }

    fn refuse_review(&mut self, intake: IntakeSeq, subject: String, refusal: Refusal, payload: &[u8]) {
        let shown = &payload[..payload.len().min(PAYLOAD_SHOWN)];
        let payload = String::from_utf8_lossy(shown).into_owned();
        self.emit(Fact::ReviewRefused { intake, subject, refusal, payload });
    }

    fn may_review(&self, subject: &str, review: &Review) -> Result<(), Refusal> {
        if self.policy.bind_agent_to_subject {
            check_agent(reviewer_of_subject(subject), &review.reviewer, "review.reviewer")?;
        }
        let others = self.queue.reviews.of.get(&review.head);
        if others.is_some_and(|o| o.len() >= MAX_REVIEWERS && !o.contains_key(&review.reviewer)) {
            let message = format!("{MAX_REVIEWERS} reviewers have spoken of this head, which is the limit");
            return Err(Refusal::field(RefusalCode::QuotaExceeded, "review.reviewer", message));
        }
        Ok(())
    }
}

impl Queue {
    /// Whether a message of the stream of reviews needs no answer any more.
    pub fn is_review_answered(&self, seq: IntakeSeq) -> bool {
        self.reviews.taken.contains(seq)
    }

    pub(crate) fn reviewed(&mut self, seq: IntakeSeq, review: &Review) {
        self.reviews.taken.insert(seq);
        let Review { reviewer, head, verdict, comment, .. } = review.clone();
        let said = Said { seq, verdict, comment };
        let on_head = self.reviews.of.entry(head).or_default();
        if on_head.get(&reviewer).is_none_or(|earlier| earlier.seq < seq) {
            on_head.insert(reviewer, said);
        }
        let offered = self.live.iter().filter(|(_, r)| r.custody().is_some_and(|c| c.head == head));
        self.index.attended.extend(offered.map(|(id, _)| *id));
        self.forget_loose_heads();
    }

    fn forget_loose_heads(&mut self) {
        if self.reviews.of.len() <= LOOSE_HEADS_KEPT {
            return;
        }
        let offered: BTreeSet<CommitId> = self.live.values().filter_map(Request::head).collect();
        let loose = self.reviews.of.iter().filter(|(head, _)| !offered.contains(head));
        let latest = |said: &BTreeMap<AgentName, Said>| said.values().map(|s| s.seq).max();
        let mut loose: Vec<_> = loose.map(|(head, said)| (latest(said), *head)).collect();
        loose.sort_unstable();
        let over = loose.len().saturating_sub(LOOSE_HEADS_KEPT);
        for (_, head) in loose.into_iter().take(over) {
            self.reviews.of.remove(&head);
        }
    }

    /// Whether somebody has said something about the head of a request.
    pub(crate) fn is_spoken_of(&self, request: &Request) -> bool {
        request.custody().is_some_and(|c| self.reviews.of.contains_key(&c.head))
    }

    /// What reviewers whose word counts have said of a request's head: not its own agent.
    fn said<'a>(&'a self, request: &'a Request) -> impl Iterator<Item = (&'a AgentName, &'a Said)> {
        let by = self.index.rules.get(&request.target).map(|rules| &rules.project.review.by);
        let said = request.custody().and_then(|c| self.reviews.of.get(&c.head));
        said.into_iter().flatten().filter(move |(reviewer, _)| {
            **reviewer != request.announcement.agent
                && by.is_none_or(|by| by.is_empty() || by.contains(*reviewer))
        })
    }

    /// Whether a reviewer keeps a request from landing, or the approval that it needs is missing.
    pub(crate) fn lacks_review(&self, id: RequestId, request: &Request) -> bool {
        let (mut approved, mut objected) = (false, false);
        for (_, said) in self.said(request) {
            match said.verdict {
                ReviewVerdict::Approved => approved = true,
                ReviewVerdict::ChangesRequested | ReviewVerdict::Blocked => objected = true,
            }
        }
        let mark = self.index.marks.get(&id);
        let needed = mark.is_some_and(|mark| mark.review);
        let owned = mark.into_iter().flat_map(|mark| mark.owned.keys());
        objected || (needed && !approved) || owned.into_iter().any(|o| !self.is_approved_by(request, o))
    }

    /// Whether one of the owners of something has approved a request's head; also one who is no reviewer.
    fn is_approved_by(&self, request: &Request, owners: &BTreeSet<AgentName>) -> bool {
        let said = request.custody().and_then(|c| self.reviews.of.get(&c.head));
        said.into_iter()
            .flatten()
            .any(|(who, said)| owners.contains(who) && said.verdict == ReviewVerdict::Approved)
    }

    /// The objections of reviewers, else the approval that is missing.
    pub(crate) fn review_blockers(&self, id: RequestId, request: &Request) -> Vec<Blocker> {
        let Some(head) = request.custody().map(|c| c.head) else { return Vec::new() };
        if !self.lacks_review(id, request) {
            return Vec::new();
        }
        let objections: Vec<Blocker> = self
            .said(request)
            .filter(|(_, said)| said.verdict != ReviewVerdict::Approved)
            .map(|(reviewer, said)| objection(request, head, reviewer, said))
            .collect();
        if !objections.is_empty() {
            return objections;
        }
        let mark = self.index.marks.get(&id);
        let owned = mark.into_iter().flat_map(|m| &m.owned);
        let unapproved = owned.filter(|(owners, _)| !self.is_approved_by(request, owners));
        let mut blockers: Vec<Blocker> =
            unapproved.map(|(owners, paths)| owners_approval(request, head, owners, paths)).collect();
        let approved = self.said(request).any(|(_, said)| said.verdict == ReviewVerdict::Approved);
        if mark.is_some_and(|m| m.review) && !approved {
            blockers.push(self.approval_missing(request, head));
        }
        blockers
    }

    fn approval_missing(&self, request: &Request, head: CommitId) -> Blocker {
        let by = self.index.rules.get(&request.target).map(|rules| &rules.project.review.by);
        let others = by.into_iter().flatten().filter(|name| **name != request.announcement.agent);
        let names: Vec<&str> = others.map(AgentName::as_str).take(10).collect();
        let who = match names.as_slice() {
            [] => format!("somebody other than {}", request.announcement.agent),
            [one] => (*one).to_owned(),
            several => format!("one of {}", several.join(", ")),
        };
        let on = names.first().filter(|_| names.len() == 1).unwrap_or(&"<reviewer>");
        Blocker {
            kind: BlockerKind::Review,
            with: names.first().filter(|_| names.len() == 1).map(|name| (*name).to_owned()),
            paths: Vec::new(),
            until: format!("{who} approves the head {head} on `work.reviews.{on}`"),
            reason: format!(
                "`{}` takes it only with a review, and {} has none",
                request.target,
                head.short()
            ),
        }
    }
}

impl Rules {
    /// Whether files need an approval; a list that was cut may hide one that does.
    pub(crate) fn needs_review(&self, files: &[String], count: u32) -> bool {
        let is_cut = usize::try_from(count).unwrap_or(usize::MAX) > files.len();
        let is_asked = !self.project.review.paths.is_empty();
        is_asked && (is_cut || files.iter().any(|f| self.review.matches(f)))
    }
}

fn owners_approval(
    request: &Request,
    head: CommitId,
    owners: &BTreeSet<AgentName>,
    paths: &[String],
) -> Blocker {
    let names: Vec<&str> = owners.iter().map(AgentName::as_str).take(10).collect();
    let first = paths.first().map(String::as_str).unwrap_or_default();
    let more = paths.len().saturating_sub(1);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Blocker {
        kind: BlockerKind::Review,
        with: names.first().map(|name| (*name).to_owned()),
        paths: paths.iter().take(PATHS_SHOWN).cloned().collect(),
        until: format!("{} approves the head {head} on `work.reviews.<agent>`", names.join(" or ")),
        reason: format!(
            "{first}{more} on `{}` belongs to {}, and none of them has approved {}",
            request.target,
            names.join(", "),
            head.short()
        ),
    }
}

fn objection(request: &Request, head: CommitId, reviewer: &AgentName, said: &Said) -> Blocker {
    let word = match said.verdict {
        ReviewVerdict::Blocked => "blocks",
        ReviewVerdict::ChangesRequested | ReviewVerdict::Approved => "asks for changes to",
    };
    let comment = said.comment.as_deref().map(str::trim).filter(|c| !c.is_empty());
    let comment: String = comment.into_iter().flat_map(|c| c.chars().take(COMMENT_SHOWN)).collect();
    let colon = if comment.is_empty() { "" } else { ": " };
    Blocker {
        kind: BlockerKind::Review,
        with: Some(reviewer.to_string()),
        paths: Vec::new(),
        until: format!(
            "another head of `{}` is announced, or {reviewer} approves the head {head} on `work.reviews.{reviewer}`",
            request.announcement.branch
        ),
        reason: format!("{reviewer} {word} {}{colon}{comment}", head.short()),
    }
}
