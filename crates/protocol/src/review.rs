use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::RefusalCode::{BadValue, MissingField, NotJson, TooLarge, UnknownType, WrongType};
use crate::{AgentName, BadId, BranchName, CommitId, MAX_PAYLOAD_BYTES, Refusal, RequestId};

const MAX_COMMENT: usize = 4_096;

/// What a reviewer says of one head. It counts for this very head, under whatever branch or request it is
/// offered, and for no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Review {
    /// Who says it.
    pub reviewer: AgentName,
    /// The head that was looked at.
    pub head: CommitId,
    /// What was found.
    pub verdict: ReviewVerdict,
    /// For whoever did the work, at most 4 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Where the head was seen; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<BranchName>,
    /// The request that was looked at; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
}

/// What a reviewer found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReviewVerdict {
    /// It may land.
    Approved,
    /// It may not before something is changed.
    ChangesRequested,
    /// It may not.
    Blocked,
}

impl Review {
    /// Understands a payload, whatever it is.
    ///
    /// # Errors
    /// A refusal that names the field and says what to send instead.
    pub fn parse(payload: &[u8]) -> Result<Review, Refusal> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            let message =
                format!("the message has {} bytes; at most {MAX_PAYLOAD_BYTES} are taken", payload.len());
            return Err(Refusal::new(TooLarge, message));
        }
        let value: Value = serde_json::from_slice(payload)
            .map_err(|e| Refusal::new(NotJson, format!("the message is not JSON: {e}")))?;
        let Value::Object(mut message) = value else {
            return Err(Refusal::new(NotJson, "the message is JSON but not an object"));
        };
        match message.get("type") {
            Some(Value::String(kind)) if kind == "review" => {}
            None => {
                return Err(Refusal::field(MissingField, "type", "`type` is missing: send \"review\""));
            }
            Some(_) => {
                let why = "this subject takes only messages of the type \"review\"";
                return Err(Refusal::field(UnknownType, "type", why));
            }
        }
        match message.remove("review") {
            Some(Value::Object(fields)) => Fields(fields).review(),
            None | Some(Value::Null) => {
                let why = "`review` is missing: it holds reviewer, head and verdict";
                Err(Refusal::field(MissingField, "review", why))
            }
            Some(_) => Err(Refusal::field(WrongType, "review", "`review` must be an object")),
        }
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn review(mut self) -> Result<Review, Refusal> {
        Ok(Review {
            reviewer: self.required("reviewer")?,
            head: self.required("head")?,
            verdict: self.verdict()?,
            comment: self.comment()?,
            branch: self.id("branch")?,
            request: self.id("request")?,
        })
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(refuse(WrongType, name, "must be a string")),
        }
    }

    fn id<T: std::str::FromStr<Err = BadId>>(&mut self, name: &str) -> Result<Option<T>, Refusal> {
        let parse = |text: String| text.parse().map_err(|e: BadId| refuse(BadValue, name, &e.to_string()));
        self.text(name)?.map(parse).transpose()
    }

    fn required<T: std::str::FromStr<Err = BadId>>(&mut self, name: &str) -> Result<T, Refusal> {
        let missing = "is missing: reviewer, head (all 40 digits) and verdict are required";
        self.id(name)?.ok_or_else(|| refuse(MissingField, name, missing))
    }

    fn verdict(&mut self) -> Result<ReviewVerdict, Refusal> {
        const EXPECTED: &str = "must be \"approved\", \"changes_requested\" or \"blocked\"";
        match self.text("verdict")?.as_deref() {
            Some("approved") => Ok(ReviewVerdict::Approved),
            Some("changes_requested") => Ok(ReviewVerdict::ChangesRequested),
            Some("blocked") => Ok(ReviewVerdict::Blocked),
            Some(_) => Err(refuse(BadValue, "verdict", EXPECTED)),
            None => Err(refuse(MissingField, "verdict", EXPECTED)),
        }
    }

    fn comment(&mut self) -> Result<Option<String>, Refusal> {
        match self.text("comment")? {
            Some(text) if text.len() > MAX_COMMENT => {
                let why = format!("has {} bytes; at most {MAX_COMMENT} are taken", text.len());
                Err(refuse(BadValue, "comment", &why))
            }
            other => Ok(other),
        }
    }
}

fn refuse(code: crate::RefusalCode, name: &str, why: &str) -> Refusal {
    let path = format!("review.{name}");
    let message = format!("`{path}` {why}");
    Refusal::field(code, &path, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn a_verdict_needs_a_reviewer_a_head_and_a_word() {
        let text = format!(
            r#"{{"type":"review","review":{{"reviewer":"eve","head":"{HEAD}","verdict":"changes_requested","comment":"no tests","branch":null,"mood":1}}}}"#
        );
        let review = Review::parse(text.as_bytes()).expect("is understood");
        assert_eq!(review.verdict, ReviewVerdict::ChangesRequested);
        assert_eq!((review.head.to_string().as_str(), review.comment.as_deref()), (HEAD, Some("no tests")));
        let written = serde_json::to_string(&review).expect("is written");
        assert_eq!(serde_json::from_str::<Review>(&written).ok(), Some(review));
    }

    #[test]
    fn every_refusal_says_what_to_send() {
        let with = |fields: &str| format!(r#"{{"type":"review","review":{{{fields}}}}}"#);
        let cases = [
            "nonsense".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            r#"{"type":"ready_to_merge"}"#.to_owned(),
            r#"{"type":"review"}"#.to_owned(),
            r#"{"type":"review","review":[]}"#.to_owned(),
            with(r#""reviewer":"eve""#),
            with(r#""reviewer":"e v e""#),
            with(r#""reviewer":1"#),
            with(r#""reviewer":"eve","head":"abc""#),
            with(&format!(r#""reviewer":"eve","head":"{HEAD}""#)),
            with(&format!(r#""reviewer":"eve","head":"{HEAD}","verdict":"lgtm""#)),
            with(&format!(
                r#""reviewer":"eve","head":"{HEAD}","verdict":"approved","comment":"{}""#,
                "x".repeat(MAX_COMMENT + 1)
            )),
        ];
        let told = |text: &String| match Review::parse(text.as_bytes()) {
            Err(refusal) => format!("{} ({})", refusal.message, refusal.field.unwrap_or_default()),
            Ok(review) => panic!("{review:?}"),
        };
        insta::assert_snapshot!(cases.iter().map(told).collect::<Vec<_>>().join("\n"));
        assert_eq!(Review::parse(&vec![b' '; MAX_PAYLOAD_BYTES + 1]).map_err(|r| r.code), Err(TooLarge));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = Review::parse(&bytes);
        }
    }
}
