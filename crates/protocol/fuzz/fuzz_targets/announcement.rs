//! Announcements of the right shape with anything in their fields, through the journal's record and back.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};
use yardmaster_protocol::{Entry, Fact, Incoming, IntakeSeq, Millis, RequestId};

#[derive(Debug, Arbitrary)]
enum Any {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Any>),
    Object(Vec<(String, Any)>),
}

impl Any {
    fn value(self) -> Value {
        match self {
            Any::Null => Value::Null,
            Any::Bool(b) => b.into(),
            Any::Integer(n) => n.into(),
            Any::Float(n) => n.into(),
            Any::Text(text) => text.into(),
            Any::List(items) => items.into_iter().map(Any::value).collect(),
            Any::Object(fields) => Value::Object(fields.into_iter().map(|(k, v)| (k, v.value())).collect()),
        }
    }
}

#[derive(Debug, Arbitrary)]
struct Sent {
    agent: Option<String>,
    branch: Option<String>,
    requirement: Option<String>,
    fields: Vec<(Field, Any)>,
    more: Vec<(String, Any)>,
    withdraw: bool,
}

#[derive(Debug, Arbitrary)]
enum Field {
    Agent,
    Branch,
    Requirement,
    Commit,
    Target,
    FilesChanged,
    SystemsTouched,
    Priority,
    DependsOn,
    Title,
    Intent,
    Request,
}

impl Field {
    fn name(&self) -> &'static str {
        match self {
            Field::Agent => "agent",
            Field::Branch => "branch",
            Field::Requirement => "requirement",
            Field::Commit => "commit",
            Field::Target => "target",
            Field::FilesChanged => "files_changed",
            Field::SystemsTouched => "systems_touched",
            Field::Priority => "priority",
            Field::DependsOn => "depends_on",
            Field::Title => "title",
            Field::Intent => "intent",
            Field::Request => "request",
        }
    }
}

fuzz_target!(|sent: Sent| {
    let mut info = Map::new();
    info.insert("agent".into(), sent.agent.unwrap_or_else(|| "roy".into()).into());
    info.insert("branch".into(), sent.branch.unwrap_or_else(|| "roy/x".into()).into());
    info.insert("requirement".into(), sent.requirement.unwrap_or_else(|| "REQ-1".into()).into());
    info.extend(sent.fields.into_iter().map(|(field, any)| (field.name().to_owned(), any.value())));
    info.extend(sent.more.into_iter().map(|(name, any)| (name, any.value())));
    let kind = if sent.withdraw { "withdraw" } else { "ready_to_merge" };
    let payload = json!({"type": kind, "merge_info": info}).to_string();
    let Ok(Incoming::ReadyToMerge(announcement)) = Incoming::parse(payload.as_bytes()) else { return };
    let fact = Fact::Announced {
        request: RequestId(1),
        intake: IntakeSeq(1),
        target: announcement.branch.clone(),
        published: Millis(1),
        traceparent: None,
        announcement,
    };
    let record = json!({"v": 1, "entries": [Entry { at: Millis(1), facts: vec![fact.clone()] }]}).to_string();
    assert!(record.len() <= 512 * 1024, "a record of {} bytes", record.len());
    let read: Value = serde_json::from_str(&record).expect("a record is JSON");
    let entries: Vec<Entry> = serde_json::from_value(read["entries"].clone()).expect("entries");
    assert_eq!(entries[0].facts, [fact]);
});
