use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use yardmaster_tests::{Change, House, announcement};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol")
}

fn validator(name: &str) -> jsonschema::Validator {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).expect("a schema");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    jsonschema::validator_for(&schema).expect("a schema")
}

fn assert_valid(validator: &jsonschema::Validator, value: &Value) {
    let problems: Vec<String> =
        validator.iter_errors(value).map(|e| format!("{e} at {}", e.instance_path)).collect();
    assert!(problems.is_empty(), "{value}\n{problems:#?}");
}

/// What others write their clients against is what the program's own types say.
#[test]
fn the_published_schemas_are_those_of_the_types() {
    let mut names: Vec<String> = Vec::new();
    for (name, schema) in yardmaster_protocol::schemas() {
        let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).expect(name);
        let kept: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            &kept,
            schema.as_value(),
            "docs/protocol/{name}.json is out of date: run `cargo xtask schemas`"
        );
        let pretty = serde_json::to_string_pretty(&kept).expect("JSON") + "\n";
        assert_eq!(text, pretty, "docs/protocol/{name}.json is not as `cargo xtask schemas` writes it");
        names.push(format!("{name}.json"));
    }
    let files = std::fs::read_dir(folder()).expect("a folder").flatten();
    let files = files.map(|f| f.file_name().to_string_lossy().into_owned()).filter(|f| f.ends_with(".json"));
    for file in files {
        assert!(names.contains(&file), "docs/protocol/{file} belongs to nothing: run `cargo xtask schemas`");
    }
}

/// Every kind of event that a run brings about is valid, and so is every answer of the service.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_house_says_is_valid() {
    let (mut house, gate) = House::held().await;
    for name in ["ann/lands", "ann/red", "ann/taken", "ann/newer"] {
        house.branch(name, &[(name, "1\n")]);
    }
    house.branch("bob/clash", &[("README", "mine\n")]);
    house.remote.commit(&Change {
        branch: "main",
        from: Some("main"),
        files: &[("README", Some("theirs\n"))],
    });
    house.start(&["--slots", "6"]).await;
    house.publish("ann", "nonsense").await;
    house.announce_with("ann", "bob/clash", &json!({"mood": "good"})).await;
    house.events.end_of("bob/clash").await;
    for (n, name) in ["ann/lands", "ann/red", "ann/taken", "ann/newer"].iter().enumerate() {
        house.announce("ann", name).await;
        house.events.of_type(name, "queued").await;
        assert_eq!(house.events.of_type(name, "queued").await["request"], format!("r{}", n + 2));
    }
    house.branch("ann/waits", &[("waits", "1\n")]);
    house.announce_with("ann", "ann/waits", &json!({"depends_on": ["nobody"]})).await;
    house.events.of_type("ann/waits", "blocked").await;
    house.withdraw("ann", "ann/taken").await;
    house.events.of_type("ann/taken", "withdrawn").await;
    house.branch("ann/newer", &[("newer", "2\n")]);
    house.announce("ann", "ann/newer").await;
    house.events.of_type("ann/newer", "superseded").await;
    answers_are_valid(&house).await;
    gate.run_of("r2").await.green();
    house.events.of_type("ann/lands", "complete").await;
    gate.run_of("r3").await.red();
    house.events.of_type("ann/red", "failed").await;
    gate.open_wide();
    house.events.of_type("ann/newer", "complete").await;
    house.stop().await;

    let event = validator("event");
    for seen in house.events.all() {
        assert_valid(&event, &seen);
        assert!(!event.is_valid(&json!({"type": seen["type"]})), "the schema takes anything");
    }
    let mut kinds: Vec<String> =
        house.events.all().iter().filter_map(|e| e["type"].as_str().map(str::to_owned)).collect();
    kinds.sort();
    kinds.dedup();
    let all = [
        "merge_blocked",
        "merge_complete",
        "merge_failed",
        "merge_queued",
        "merge_superseded",
        "merge_testing",
    ];
    assert!(
        all.iter().chain(&["merge_withdrawn", "request_rejected"]).all(|k| kinds.iter().any(|f| f == k)),
        "{kinds:?}"
    );
}

async fn answers_are_valid(house: &House) {
    let ask = async |verb: &str, body: Value| -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply =
            house.nats.request(format!("yardmaster.v1.{verb}"), body.into()).await.expect("an answer");
        serde_json::from_slice(&reply.payload).expect("JSON")
    };
    assert_valid(&validator("status_reply"), &ask("status", Value::Null).await);
    assert_valid(&validator("queue_reply"), &ask("queue", Value::Null).await);
    assert_valid(&validator("request_view"), &ask("status", json!({"what": "r2"})).await);
    assert_valid(&validator("request_view"), &ask("status", json!({"what": "bob/clash"})).await);
    assert_valid(&validator("log_reply"), &ask("logs", json!({"what": "r2", "offset": 0})).await);
    assert_valid(
        &validator("submit_reply"),
        &ask("submit", announcement("ann", "ann/lands", &json!({}))).await,
    );
    for (verb, body) in [
        ("status", json!({"what": "r99"})),
        ("withdraw", json!({"what": "r1", "by": "ann"})),
        ("withdraw", json!({})),
        ("submit", json!({"agent": "ann"})),
        ("submit", json!({"agent": "ann", "branch": "ann/none", "requirement": "R"})),
        ("logs", json!({"what": "r99", "offset": 0})),
    ] {
        let reply = ask(verb, body).await;
        assert_eq!(reply["ok"], false, "{verb}: {reply}");
        assert_valid(&validator("error"), &reply);
    }
}
