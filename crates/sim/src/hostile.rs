//! Messages as nobody honest sends them: a valid one, bent in ways that decoders have fallen for.

use serde_json::{Map, Value, json};

use crate::rng::Rng;

/// A message and the subject that it is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hostile {
    /// Below `work.integration.`; usually the agent's name.
    pub subject: String,
    /// The bytes.
    pub payload: Vec<u8>,
}

const AGENTS: u64 = 100;
const BRANCHES: u64 = 3;
const FIELDS: [&str; 14] = [
    "agent",
    "branch",
    "requirement",
    "commit",
    "target",
    "files_changed",
    "systems_touched",
    "priority",
    "depends_on",
    "title",
    "intent",
    "timestamp",
    "files",
    "systems",
];
const TEXTS: [&str; 24] = [
    "",
    " ",
    "main",
    "HEAD",
    "@",
    "--upload-pack=x",
    "-",
    "refs/heads/main",
    "a..b",
    "a.lock",
    "a//b",
    "../../etc/passwd",
    "+main:main",
    "a\u{0}b",
    "a\nRequest-Id: r1",
    "\u{1b}[2J\u{7}",
    "\u{202e}niam",
    "e\u{301}\u{200d}\u{feff}",
    "\u{10ffff}\u{fffd}",
    "$(touch x)`y`;'\"\\",
    "work.integration.>",
    "*",
    "r18446744073709551615",
    "0000000000000000000000000000000000000000",
];
const NUMBERS: [&str; 14] = [
    "-0",
    "0.1",
    "1e308",
    "1e309",
    "-1e400",
    "5e-324",
    "9e15",
    "2.2250738585072011e-308",
    "1763690000.1234567",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "123456789012345678901234567890.123456789012345678901234567890",
    "1E+2",
];

/// The message of `seed`: about a third of all can be taken, the rest is bent once or more.
pub fn message(seed: u64) -> Hostile {
    let mut rng = Rng::new(seed);
    let agent = format!("agent-{}", rng.range(1, AGENTS));
    let mut value = valid(&mut rng, &agent);
    let bends = if rng.chance(35) { 0 } else { rng.range(1, 3) };
    let mut marks = Vec::new();
    for _ in 0..bends {
        bend(&mut rng, &mut value, &mut marks);
    }
    let mut payload = value.to_string();
    for (mark, text) in &marks {
        payload = payload.replacen(&format!("\"{mark}\""), text, 1);
    }
    let mut payload = payload.into_bytes();
    if bends > 0 && rng.chance(25) {
        break_bytes(&mut rng, &mut payload);
    }
    let subject = match rng.range(0, 60) {
        0 => format!("{agent}.more"),
        1 => "\u{e9}".to_owned(),
        2 => "x".repeat(rng.index(300) + 1),
        3 => "$".to_owned(),
        _ => agent,
    };
    Hostile { subject, payload }
}

fn valid(rng: &mut Rng, agent: &str) -> Value {
    let branch = format!("{agent}/{}", rng.range(1, BRANCHES));
    if rng.chance(12) {
        return json!({"type": "withdraw", "merge_info": {"agent": agent, "branch": branch}});
    }
    if rng.chance(8) {
        let info =
            json!({"agent": agent, "branch": branch, "files": ["api/**", text(rng)], "systems": [text(rng)]});
        return json!({"type": "intent", "merge_info": info});
    }
    let mut info = Map::new();
    info.insert("agent".into(), agent.into());
    info.insert("requirement".into(), format!("REQ-{}", rng.range(1, AGENTS)).into());
    info.insert("branch".into(), branch.into());
    let optional: [(&str, Value); 7] = [
        ("commit", format!("{:040x}", rng.range(1, 9)).into()),
        ("target", "main".into()),
        ("files_changed", json!(["api/auth.rs", "ü/名.rs"])),
        ("systems_touched", json!(["backend"])),
        ("priority", rng.range(1, 3).into()),
        ("depends_on", json!([format!("REQ-{}", rng.range(1, AGENTS)), "r1"])),
        ("timestamp", json!(1_763_690_000.25)),
    ];
    for (name, value) in optional {
        if rng.chance(20) {
            info.insert(name.into(), value);
        }
    }
    json!({"type": "ready_to_merge", "merge_info": info})
}

/// One change to the structure; what JSON values cannot hold is left as a mark to be replaced in the text.
fn bend(rng: &mut Rng, message: &mut Value, marks: &mut Vec<(String, String)>) {
    if rng.chance(8) {
        let odd = leaf(rng, marks);
        let key = ["type", "merge_info", "extra", ""].get(rng.index(4)).copied().unwrap_or_default();
        match message.as_object_mut() {
            Some(fields) if !key.is_empty() => drop(fields.insert(key.to_owned(), odd)),
            Some(_) | None => *message = odd,
        }
        return;
    }
    let name = FIELDS.get(rng.index(FIELDS.len())).copied().unwrap_or_default();
    let Some(info) = message.get_mut("merge_info").and_then(Value::as_object_mut) else { return };
    match rng.range(0, 7) {
        0 => drop(info.remove(name)),
        1 => drop(info.insert(name.into(), leaf(rng, marks))),
        2 => drop(info.insert(text(rng), leaf(rng, marks))),
        3 => drop(info.insert(name.into(), long_list(rng))),
        4 => {
            let field = if rng.chance(70) { "nested".to_owned() } else { name.to_owned() };
            let deep = nested(rng);
            info.insert(field, mark(marks, deep));
        }
        5 => {
            let twice = format!("1, {}: {}", json!(name), json!(text(rng)));
            info.insert("first".into(), mark(marks, twice));
        }
        6 => drop(info.insert(name.into(), text(rng).into())),
        _ => {
            let field = if rng.chance(50) { "measure" } else { name };
            let number = number(rng);
            info.insert(field.into(), mark(marks, number));
        }
    }
}

fn mark(marks: &mut Vec<(String, String)>, text: String) -> Value {
    let name = format!("@mark-{}", marks.len());
    marks.push((name.clone(), text));
    Value::String(name)
}

fn leaf(rng: &mut Rng, marks: &mut Vec<(String, String)>) -> Value {
    match rng.range(0, 6) {
        0 => Value::Null,
        1 => Value::Bool(rng.chance(50)),
        2 => {
            let number = number(rng);
            mark(marks, number)
        }
        3 => json!([text(rng), 1, null, {"a": []}]),
        4 => json!({text(rng): text(rng)}),
        _ => text(rng).into(),
    }
}

fn number(rng: &mut Rng) -> String {
    let digits = rng.range(0, u64::MAX - 1);
    match rng.range(0, 3) {
        0 => format!("{}.{digits}e{}", rng.range(0, 9), rng.range(0, 600)),
        1 => format!("-{}.{digits}e-{}", rng.range(0, 9), rng.range(0, 330)),
        _ => NUMBERS.get(rng.index(NUMBERS.len())).copied().unwrap_or_default().to_owned(),
    }
}

fn text(rng: &mut Rng) -> String {
    let base = TEXTS.get(rng.index(TEXTS.len())).copied().unwrap_or_default();
    match rng.range(0, 5) {
        0 => base.repeat(rng.index(200) + 1),
        1 => format!("work/{base}"),
        2 => char::from_u32(u32::try_from(rng.range(0, 0x11_0000)).unwrap_or(0)).into_iter().collect(),
        _ => base.to_owned(),
    }
}

fn long_list(rng: &mut Rng) -> Value {
    let most = if rng.chance(5) { 2_500 } else { 40 };
    let length = rng.index(most);
    (0..length).map(|i| Value::String(format!("REQ-{i}"))).collect()
}

/// Around the depth at which parsers give up, on either side.
fn nested(rng: &mut Rng) -> String {
    let depth = if rng.chance(3) { 20_000 } else { rng.index(140) + 1 };
    if rng.chance(50) {
        format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
    } else {
        format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth))
    }
}

fn break_bytes(rng: &mut Rng, payload: &mut Vec<u8>) {
    let at = rng.index(payload.len());
    match rng.range(0, 6) {
        0 => payload.truncate(at),
        1 => payload.splice(at..at, [0xff, 0xfe, 0xc0, 0x80]).for_each(drop),
        2 => payload.splice(at..at, [0xed, 0xa0, 0x80]).for_each(drop),
        3 => payload.splice(..0, [0xef, 0xbb, 0xbf]).for_each(drop),
        4 => payload.extend_from_within(..),
        5 => payload.extend(vec![b' '; if rng.chance(10) { 66_000 } else { 10 }]),
        _ => {
            if let Some(byte) = payload.get_mut(at) {
                *byte ^= 1 << rng.index(8);
            }
        }
    }
}
