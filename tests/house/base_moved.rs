use std::time::Duration;

use serde_json::{Value, json};
use yardmaster_tests::{Change, Events, House};

const SYSTEMS: &str = "[gate]\nrun = \"./gate.sh\"\n[systems.web]\npaths = [\"web/**\"]\n";
const GATE: &str = "#!/bin/sh\n[ ! -e red ]\n";

async fn intend(house: &House, agent: &str, more: &Value) {
    let mut info = json!({"agent": agent, "branch": format!("{agent}/next")});
    info.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    house.publish(agent, json!({"type": "intent", "merge_info": info}).to_string()).await;
}

async fn moved(copies: &Events, agent: &str) -> Value {
    let fits = |e: &Value| e["type"] == "base_moved" && e["agent"] == agent;
    copies.wait_for(&format!("base_moved of {agent}"), fits).await
}

/// Who waits with the same paths, who means to work on them and who means to work on their system are told
/// what landed; nobody else is, and no stream keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn agents_are_told_of_what_landed_beneath_them() {
    let files = [("gate.sh", GATE), (".yardmaster.toml", SYSTEMS), ("api/a", "1\n2\n3\n4\n5\n6\n7\n8\n9\n")];
    let mut house = House::build_with(&files).await;
    let schema = std::fs::read("../docs/protocol/base_moved.json").expect("a schema");
    let schema: Value = serde_json::from_slice(&schema).expect("it is JSON");
    let schema = jsonschema::validator_for(&schema).expect("it is a schema");
    let copies = Events::listen_to(&house.nats, "work.agents.*").await;
    house.branch("ann/1", &[("api/a", "one\n2\n3\n4\n5\n6\n7\n8\n9\n"), ("web/x", "x\n")]);
    house.branch("bob/1", &[("api/a", "1\n2\n3\n4\n5\n6\n7\n8\nnine\n")]);
    house.start(&[]).await;
    house.announce_with("bob", "bob/1", &json!({"depends_on": ["REQ-later"]})).await;
    house.events.of_type("bob/1", "blocked").await;
    intend(&house, "cy", &json!({"files": ["api/**"], "requirement": "REQ-cy"})).await;
    intend(&house, "dan", &json!({"systems": ["web"]})).await;
    intend(&house, "eve", &json!({"files": ["docs/**"], "systems": ["api"]})).await;
    intend(&house, "fay", &json!({"files": ["api/a"]})).await;
    let gone = json!({"type": "withdraw", "merge_info": {"agent": "fay", "branch": "fay/next"}});
    house.publish("fay", gone.to_string()).await;
    house.wait_until_acked().await;
    house.stop().await;
    house.start(&[]).await;
    house.announce("ann", "ann/1").await;
    let landed = house.events.of_type("ann/1", "complete").await;
    let told = moved(&copies, "bob").await;
    assert_eq!(told["landed"][0]["commit"], landed["commit"], "{told}");
    assert_eq!((&told["tip"], &told["target"]), (&landed["commit"], &json!("main")), "{told}");
    assert_eq!(told["paths"], json!(["api/a"]), "{told}");
    assert_eq!(told["concerns"], json!([{"request": "r1", "branch": "bob/1"}]), "{told}");
    let told = moved(&copies, "cy").await;
    assert_eq!((&told["paths"], &told["concerns"]), (&json!(["api/a"]), &json!([{"branch": "cy/next"}])));
    let told = moved(&copies, "dan").await;
    assert_eq!(told["concerns"], json!([{"branch": "dan/next", "systems": ["web"]}]), "{told}");
    assert_eq!(told["paths"], json!(["web/x"]), "{told}");

    // Somebody pushes around the queue.
    let files: &[(&str, Option<&str>)] = &[("api/b", Some("b\n"))];
    let tip = house.remote.commit(&Change { branch: "main", from: Some("main"), files });
    let around = copies.wait_for("a move around the queue", |e| e["tip"] == tip.as_str()).await;
    assert_eq!((&around["agent"], &around["landed"]), (&json!("cy"), &json!([])), "{around}");
    assert_eq!(around["paths"], json!(["api/b"]), "{around}");

    let all: Vec<Value> = copies.all().into_iter().filter(|e| e["type"] == "base_moved").collect();
    assert!(all.iter().all(|e| schema.is_valid(e)), "{all:?}");
    let agents: Vec<&str> = all.iter().filter_map(|e| e["agent"].as_str()).collect();
    assert_eq!(agents, ["bob", "cy", "dan", "cy"]);
    assert!(!house.events.all().iter().any(|e| e["type"] == "base_moved"), "a stream has it");
    house.withdraw("bob", "bob/1").await;
    house.events.of_type("bob/1", "withdrawn").await;
    house.stop().await;
    house.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_that_cannot_be_used_is_rejected_with_what_to_send() {
    let mut house = House::build().await;
    house.start(&[]).await;
    for (more, field) in [
        (json!({}), "merge_info.files"),
        (json!({"files": ["../x"]}), "merge_info.files"),
        (json!({"files": ["a"], "target": "other"}), "merge_info.target"),
    ] {
        intend(&house, "roy", &more).await;
        let fits = |e: &Value| e["type"] == "request_rejected" && e["why"]["field"] == field;
        house.events.wait_for(field, fits).await;
    }
    tokio::time::timeout(Duration::from_secs(30), house.wait_until_acked()).await.expect("answered");
    house.stop().await;
    house.check().await;
}
