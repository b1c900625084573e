use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::refusal::RefusalCode::{BadValue, MissingField, NotJson, TooLarge, UnknownType, WrongType};
use crate::{
    AgentName, BadId, BranchName, CommitId, GateId, Globs, Intent, Refusal, RequestId, Requirement, TreeId,
};

/// The largest message that is looked at, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
const MAX_LIST: usize = 2_000;
/// Each is looked up again whenever something changes.
const MAX_NEEDS: usize = 64;
/// Of an intent: its globs stay in memory for a day.
const MAX_INTENT_FILES: usize = 100;
const MAX_SYSTEM_BYTES: usize = 256;
const MAX_TEXT: usize = 4_096;
/// Of unknown fields. Records, snapshots and events wrap them in some levels more, and every JSON reader stops
/// somewhere, ours at 128: what is taken here must be readable there.
const MAX_EXTRA_DEPTH: usize = 32;
/// Values in all unknown fields together: in memory each may take a hundred times its bytes.
const MAX_EXTRA_VALUES: usize = 1_000;

/// Which class of work comes first: 1 infrastructure, 2 backend, 3 frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Priority(pub u8);

impl Priority {
    /// Affects everything: first.
    pub const INFRASTRUCTURE: Priority = Priority(1);
    /// What others need; also the default.
    pub const BACKEND: Priority = Priority(2);
    /// Last.
    pub const FRONTEND: Priority = Priority(3);

    /// The class that a system's or a priority's usual name stands for.
    pub fn of_name(name: &str) -> Option<Priority> {
        match name.to_ascii_lowercase().as_str() {
            "infrastructure" | "infra" => Some(Self::INFRASTRUCTURE),
            "backend" => Some(Self::BACKEND),
            "frontend" => Some(Self::FRONTEND),
            _ => None,
        }
    }
}

/// A message that was understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// A branch is ready.
    ReadyToMerge(Box<Announcement>),
    /// A branch is taken back.
    Withdraw(Withdrawal),
    /// An agent means to work on something.
    Intent(Box<Intent>),
    /// A gate has passed elsewhere.
    GatePassed(Box<GatePassed>),
}

/// A run of the gate that somebody else made, and that was green. It counts for that very tree and that very gate,
/// from agents that the daemon trusts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatePassed {
    /// Who ran it.
    pub agent: AgentName,
    /// Of which branch's project the gate is; missing: the configured branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<BranchName>,
    /// The commit that was tested.
    pub commit: CommitId,
    /// Its tree.
    pub tree: TreeId,
    /// The gate, as `yardmaster status --json` names it.
    pub gate: GateId,
    /// How long it took, in milliseconds.
    #[serde(default)]
    pub ms: u64,
}

/// What an agent says of a branch that is ready to merge. Lists and priority are claims: git's own
/// diff decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Announcement {
    /// Who did the work.
    pub agent: AgentName,
    /// Where the work is.
    pub branch: BranchName,
    /// What the work is for.
    pub requirement: Requirement,
    /// The head that is offered; missing: whatever the branch points at when it is fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// Where it is to land; missing: the configured branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<BranchName>,
    /// Claimed paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_changed: Option<Vec<String>>,
    /// Claimed systems.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub systems_touched: Vec<String>,
    /// Claimed class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Requirements, branches or request ids that must land first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// `depends_on` was there, if only empty: a repetition without it changes nothing about dependencies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(skip)]
    pub states_needs: bool,
    /// One line for people; becomes part of the merge commit's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What the agent means to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// It is to be tested by itself, never in a batch with others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// The agent's own estimate that it passes, in thousandths: it orders what is tested first, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<u16>,
    /// Everything else that the message carried, kept as it came.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

impl Announcement {
    /// The class: the claim, else the lowest number that a touched system stands for, else 2.
    pub fn class(&self) -> Priority {
        let mapped = self.systems_touched.iter().filter_map(|s| Priority::of_name(s)).min();
        self.priority.or(mapped).unwrap_or(Priority::BACKEND)
    }
}

/// What is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Withdrawal {
    /// Who takes it back.
    pub agent: AgentName,
    /// The branch, unless the request is named.
    pub branch: BranchName,
    /// One request, where the branch is not enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
}

impl Incoming {
    /// Understands a payload, whatever it is.
    ///
    /// # Errors
    /// A refusal that names the field and says what to send instead.
    pub fn parse(payload: &[u8]) -> Result<Incoming, Refusal> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(Refusal::new(
                TooLarge,
                format!(
                    "the message has {} bytes; at most {MAX_PAYLOAD_BYTES} are taken: leave long lists out, git's own diff decides anyway",
                    payload.len()
                ),
            ));
        }
        let value: Value = serde_json::from_slice(payload)
            .map_err(|e| Refusal::new(NotJson, format!("the message is not JSON: {e}")))?;
        let Value::Object(mut message) = value else {
            return Err(Refusal::new(NotJson, "the message is JSON but not an object"));
        };
        let kind = match message.get("type") {
            None => {
                return Err(missing(
                    "type",
                    "send \"ready_to_merge\", \"withdraw\", \"intent\" or \"gate_passed\"",
                ));
            }
            Some(Value::String(kind)) => kind.clone(),
            Some(other) => return Err(wrong("type", "a string", other)),
        };
        let mut info = Info(match message.remove("merge_info") {
            Some(Value::Object(info)) => info,
            None | Some(Value::Null) => {
                return Err(missing("merge_info", "it holds agent, branch and requirement"));
            }
            Some(other) => return Err(wrong("merge_info", "an object", &other)),
        });
        match kind.as_str() {
            "ready_to_merge" => info.announcement().map(|a| Incoming::ReadyToMerge(Box::new(a))),
            "withdraw" => info.withdrawal().map(Incoming::Withdraw),
            "intent" => info.intent().map(|i| Incoming::Intent(Box::new(i))),
            "gate_passed" => info.gate_passed().map(|g| Incoming::GatePassed(Box::new(g))),
            other => Err(Refusal::field(
                UnknownType,
                "type",
                format!(
                    "type `{}` is not known here: send \"ready_to_merge\", \"withdraw\", \"intent\" or \"gate_passed\"",
                    other.chars().filter(|c| !c.is_control()).take(60).collect::<String>()
                ),
            )),
        }
    }
}

fn path(name: &str) -> String {
    match name {
        "type" | "merge_info" => name.to_owned(),
        _ => format!("merge_info.{name}"),
    }
}

fn missing(name: &str, hint: &str) -> Refusal {
    Refusal::field(MissingField, &path(name), format!("`{}` is missing: {hint}", path(name)))
}

fn wrong(name: &str, expected: &str, found: &Value) -> Refusal {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Refusal::field(WrongType, &path(name), format!("`{}` must be {expected}, not {found}", path(name)))
}

fn bad(name: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal::field(BadValue, &path(name), format!("`{}`: {why}", path(name)))
}

fn fits(value: &Value, depth: usize, left: &mut usize) -> bool {
    let Some(fewer) = left.checked_sub(1) else { return false };
    *left = fewer;
    let Some(depth) = depth.checked_sub(1) else { return false };
    match value {
        Value::Array(items) => items.iter().all(|item| fits(item, depth, left)),
        Value::Object(fields) => fields.values().all(|item| fits(item, depth, left)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// The fields that have not been read yet.
struct Info(Map<String, Value>);

impl Info {
    fn announcement(&mut self) -> Result<Announcement, Refusal> {
        let states_needs = self.0.get("depends_on").is_some_and(|needs| !needs.is_null());
        Ok(Announcement {
            states_needs,
            agent: self.required("agent")?,
            branch: self.required("branch")?,
            requirement: self.required("requirement")?,
            commit: self.commit()?,
            target: self.id("target")?,
            files_changed: self.list("files_changed", MAX_LIST)?,
            systems_touched: self.list("systems_touched", MAX_LIST)?.unwrap_or_default(),
            priority: self.priority()?,
            depends_on: self.list("depends_on", MAX_NEEDS)?.unwrap_or_default(),
            title: self.text("title")?,
            intent: self.text("intent")?,
            alone: self.flag("alone")?,
            confidence: self.confidence()?,
            extra: self.extra()?,
        })
    }

    fn extra(&mut self) -> Result<Map<String, Value>, Refusal> {
        let mut left = MAX_EXTRA_VALUES;
        if self.0.values().all(|value| fits(value, MAX_EXTRA_DEPTH, &mut left)) {
            return Ok(std::mem::take(&mut self.0));
        }
        let message = format!(
            "the unknown fields of `merge_info` hold more than {MAX_EXTRA_VALUES} values or are nested more than {MAX_EXTRA_DEPTH} deep: leave out what need not be passed on"
        );
        Err(Refusal::field(BadValue, "merge_info", message))
    }

    fn withdrawal(&mut self) -> Result<Withdrawal, Refusal> {
        Ok(Withdrawal {
            agent: self.required("agent")?,
            branch: self.required("branch")?,
            request: self.id("request")?,
        })
    }

    fn intent(&mut self) -> Result<Intent, Refusal> {
        let intent = Intent {
            agent: self.required("agent")?,
            branch: self.required("branch")?,
            requirement: self.id("requirement")?,
            target: self.id("target")?,
            files: self.list("files", MAX_INTENT_FILES)?.unwrap_or_default(),
            systems: self.list("systems", MAX_NEEDS)?.unwrap_or_default(),
        };
        Globs::new(&intent.files).map_err(|why| bad("files", why))?;
        if intent.files.is_empty() && intent.systems.is_empty() {
            return Err(missing("files", "an intent names likely `files` or `systems`"));
        }
        if let Some(long) = intent.systems.iter().find(|s| s.len() > MAX_SYSTEM_BYTES) {
            return Err(bad("systems", format!("a name of {} bytes is too long", long.len())));
        }
        Ok(intent)
    }

    fn gate_passed(&mut self) -> Result<GatePassed, Refusal> {
        let need = |name| move || missing(name, "a gate that has passed names agent, commit, tree and gate");
        Ok(GatePassed {
            agent: self.required("agent")?,
            target: self.id("target")?,
            commit: self.commit()?.ok_or_else(need("commit"))?,
            tree: self.id("tree")?.ok_or_else(need("tree"))?,
            gate: self.id("gate")?.ok_or_else(need("gate"))?,
            ms: match self.take("ms") {
                None => 0,
                Some(Value::Number(n)) => {
                    n.as_u64().ok_or_else(|| bad("ms", "it is no count of milliseconds"))?
                }
                Some(other) => return Err(wrong("ms", "a number", &other)),
            },
        })
    }

    /// The field, with null the same as missing.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|v| !v.is_null())
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() > MAX_TEXT => {
                Err(bad(name, format!("{} bytes are too long; at most {MAX_TEXT}", text.len())))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, "a string", &other)),
        }
    }

    fn id<T: std::str::FromStr<Err = BadId>>(&mut self, name: &str) -> Result<Option<T>, Refusal> {
        let parse = |text: String| text.parse().map_err(|e: BadId| bad(name, e));
        self.text(name)?.map(parse).transpose()
    }

    fn required<T: std::str::FromStr<Err = BadId>>(&mut self, name: &str) -> Result<T, Refusal> {
        self.id(name)?.ok_or_else(|| {
            missing(name, "agent, branch and requirement are required, everything else may be left out")
        })
    }

    fn flag(&mut self, name: &str) -> Result<bool, Refusal> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(is)) => Ok(is),
            Some(other) => Err(wrong(name, "true or false", &other)),
        }
    }

    /// From 0 to 1, kept in thousandths.
    fn confidence(&mut self) -> Result<Option<u16>, Refusal> {
        match self.take("confidence") {
            None => Ok(None),
            Some(Value::Number(n)) => match n.as_f64() {
                Some(share @ 0.0..=1.0) => Ok(Some((share * 1_000.0).round() as u16)),
                _ => Err(bad("confidence", format!("{n} is not a share from 0 to 1, such as 0.9"))),
            },
            Some(other) => Err(wrong("confidence", "a number from 0 to 1", &other)),
        }
    }

    fn commit(&mut self) -> Result<Option<CommitId>, Refusal> {
        self.id("commit")
    }

    fn list(&mut self, name: &str, most: usize) -> Result<Option<Vec<String>>, Refusal> {
        let items = match self.take(name) {
            None => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(wrong(name, "a list of strings", &other)),
        };
        if items.len() > most {
            return Err(bad(name, format!("{} entries are too many; at most {most}", items.len())));
        }
        let text = |item: Value| match item {
            Value::String(text) => Ok(text),
            other => Err(wrong(name, "a list of strings", &other)),
        };
        items.into_iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    fn priority(&mut self) -> Result<Option<Priority>, Refusal> {
        const EXPECTED: &str = "1 (infrastructure), 2 (backend) or 3 (frontend)";
        match self.take("priority") {
            None => Ok(None),
            Some(Value::Number(n)) => match n.as_u64() {
                Some(class @ 1..=3) => Ok(Some(Priority(class as u8))),
                _ => Err(bad("priority", format!("{n} is not {EXPECTED}"))),
            },
            Some(Value::String(name)) => match Priority::of_name(&name) {
                Some(class) => Ok(Some(class)),
                None => Err(bad("priority", format!("that name is not {EXPECTED}"))),
            },
            Some(other) => Err(wrong("priority", EXPECTED, &other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(payload: &str) -> Refusal {
        Incoming::parse(payload.as_bytes()).expect_err(payload)
    }

    #[test]
    fn three_fields_are_enough() {
        let parsed = Incoming::parse(
            br#"{"type":"ready_to_merge","merge_info":{"agent":"roy","branch":"roy/x","requirement":"R"}}"#,
        );
        let Ok(Incoming::ReadyToMerge(a)) = parsed else { panic!("{parsed:?}") };
        assert_eq!((a.agent.as_str(), a.class()), ("roy", Priority::BACKEND));
    }

    #[test]
    fn the_workshop_form_is_understood_and_unknown_fields_are_kept() {
        let parsed = Incoming::parse(
            br#"{"type":"ready_to_merge","from":"x","merge_info":{"agent":"roy","branch":"roy/x","requirement":"R",
                "files_changed":["a"],"systems_touched":["frontend","infra"],"priority":null,"timestamp":1763690000.0,"mood":"good"}}"#,
        );
        let Ok(Incoming::ReadyToMerge(a)) = parsed else { panic!("{parsed:?}") };
        assert_eq!(a.class(), Priority::INFRASTRUCTURE);
        assert_eq!(a.extra.keys().map(String::as_str).collect::<Vec<_>>(), ["mood", "timestamp"]);
    }

    #[test]
    fn every_refusal_says_what_to_send() {
        let cases = [
            ("nonsense", NotJson),
            ("[]", NotJson),
            ("{}", MissingField),
            (r#"{"type":7}"#, WrongType),
            (r#"{"type":"x","merge_info":{}}"#, UnknownType),
            (r#"{"type":"ready_to_merge"}"#, MissingField),
            (r#"{"type":"ready_to_merge","merge_info":[]}"#, WrongType),
            (r#"{"type":"ready_to_merge","merge_info":{"agent":"roy","branch":"b"}}"#, MissingField),
            (
                r#"{"type":"ready_to_merge","merge_info":{"agent":1,"branch":"b","requirement":"R"}}"#,
                WrongType,
            ),
            (
                r#"{"type":"ready_to_merge","merge_info":{"agent":"roy","branch":"--upload-pack=x","requirement":"R"}}"#,
                BadValue,
            ),
            (
                r#"{"type":"ready_to_merge","merge_info":{"agent":"roy","branch":"a..b","requirement":"R"}}"#,
                BadValue,
            ),
            (
                r#"{"type":"ready_to_merge","merge_info":{"agent":"roy","branch":"b","requirement":"R","priority":9}}"#,
                BadValue,
            ),
            (
                r#"{"type":"ready_to_merge","merge_info":{"agent":"roy","branch":"b","requirement":"R","files_changed":"a"}}"#,
                WrongType,
            ),
            (
                r#"{"type":"ready_to_merge","merge_info":{"agent":"roy","branch":"b","requirement":"R","commit":"abc"}}"#,
                BadValue,
            ),
        ];
        for (payload, code) in cases {
            assert_eq!(refusal(payload).code, code, "{payload}");
        }
        let printed: Vec<String> = cases.iter().map(|(p, _)| refusal(p).message).collect();
        insta::assert_snapshot!(printed.join("\n"));
        let large = vec![b' '; MAX_PAYLOAD_BYTES + 1];
        assert_eq!(Incoming::parse(&large).map_err(|r| r.code), Err(TooLarge));
    }

    /// A journal that cannot be read back would stop every later start.
    #[test]
    fn unknown_fields_are_bounded_so_that_they_can_be_read_back() {
        let wish = |extra: String| {
            let required = r#""agent":"roy","branch":"b","requirement":"R""#;
            Incoming::parse(
                format!(r#"{{"type":"ready_to_merge","merge_info":{{{required},"x":{extra}}}}}"#).as_bytes(),
            )
        };
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let many = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert!(wish(nested(MAX_EXTRA_DEPTH - 1)).is_ok());
        assert!(wish(many(MAX_EXTRA_VALUES - 1)).is_ok());
        for over in [nested(MAX_EXTRA_DEPTH), nested(124), many(MAX_EXTRA_VALUES)] {
            assert_eq!(wish(over).map_err(|r| r.code), Err(BadValue));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = Incoming::parse(&bytes);
        }
    }
}
