use std::collections::BTreeSet;

use async_nats::HeaderMap;
use serde_json::json;
use yardmaster_tests::{Events, House, announcement};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Fields, headers and copies, as the page on the wire says.
#[tokio::test(flavor = "multi_thread")]
async fn events_have_the_fields_and_headers_that_are_promised() {
    let mut house = House::build().await;
    let head = house.branch("roy/one", &[("api/one.rs", "1\n"), ("api/two.rs", "2\n")]);
    house.branch("ann/two", &[("two.txt", "2\n")]);
    let copies = Events::listen_to(&house.nats, "work.agents.roy").await;
    house.start(&[]).await;
    let more = json!({"files_changed": ["api/one.rs", "ui/three.rs"], "systems_touched": ["backend"], "priority": 2,
        "timestamp": 1_763_690_000.0, "mood": "good"});
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", TRACE);
    let message = announcement("roy", "roy/one", &more).to_string();
    house
        .nats
        .publish_with_headers("work.integration.roy", headers, message.into())
        .await
        .expect("published");
    let complete = house.events.end_of("roy/one").await;
    house.announce("ann", "ann/two").await;
    house.events.end_of("ann/two").await;
    house.stop().await;
    let ledger = house.check().await;

    assert_eq!(house.events.of("roy/one"), ["queued", "testing", "complete"]);
    assert_eq!(copies.of("roy/one"), ["queued", "testing", "complete"]);
    assert_eq!(copies.of("ann/two"), Vec::<String>::new(), "copies of another agent");
    for message in &ledger.messages {
        let (event, header) = (&message.event, |name: &str| message.headers.get(name).map(String::as_str));
        for field in ["type", "request", "agent", "branch", "requirement", "target", "time"] {
            assert!(event[field].is_string(), "{field} in {event}");
        }
        let token =
            event["type"].as_str().and_then(|t| t.strip_prefix("merge_")).expect("a type of a request");
        assert_eq!(message.subject, format!("work.releases.{token}"));
        assert_eq!(header("ce-specversion"), Some("1.0"));
        assert_eq!(header("ce-id"), header("Nats-Msg-Id"));
        assert_eq!(header("ce-subject"), event["request"].as_str());
        assert_eq!(header("ce-time"), event["time"].as_str());
        assert_eq!(header("ce-source"), Some("/yardmaster/default"));
        assert_eq!(header("ce-type"), Some(format!("dev.yardmaster.merge_{token}").as_str()));
        let trace = if event["branch"] == "roy/one" { Some(TRACE) } else { None };
        assert_eq!(header("traceparent"), trace, "{event}");
    }
    let queued = house.events.of_type("roy/one", "queued").await;
    assert_eq!(queued["position"], 1);
    assert_eq!(
        queued["declared_mismatch"],
        json!({"undeclared": ["api/two.rs"], "unchanged": ["ui/three.rs"]})
    );
    assert_eq!(queued["extra"]["mood"], "good", "what is not known is passed on: {queued}");
    assert_eq!((&queued["head"], &queued["target"]), (&json!(head), &json!("main")));
    let testing = house.events.of_type("roy/one", "testing").await;
    assert_eq!((&testing["attempt"], &testing["behind"]), (&json!(1), &json!([])));
    assert_eq!(complete["commit"], testing["candidate"]);
    assert_eq!(complete["base"], testing["base"]);
    assert_eq!(complete["gate"]["run"], testing["run"]);
    assert_eq!(complete["gate"]["reused"], false);
    assert!(complete["gate"]["seconds"].as_f64().is_some_and(|s| s > 0.0), "{complete}");
    let fields: BTreeSet<&str> =
        complete.as_object().expect("an object").keys().map(String::as_str).collect();
    let promised = [
        "agent",
        "base",
        "branch",
        "commit",
        "extra",
        "gate",
        "head",
        "request",
        "requirement",
        "seq",
        "target",
        "time",
        "tree",
        "type",
    ];
    assert_eq!(fields, BTreeSet::from(promised));
}
