use serde_json::{Value, json};
use yardmaster_tests::{Change, House};

/// bob's work lands; roy's branch is an older tree, committed on the new main: refused before any test.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_tree_on_a_new_base_is_refused_before_it_is_tested() {
    let mut house = House::build().await;
    house.branch("bob/one", &[("one.txt", "bob's\n"), ("README", "a better project\n")]);
    house.start(&[]).await;
    house.announce("bob", "bob/one").await;
    assert_eq!(house.events.end_of("bob/one").await["type"], "merge_complete");
    let landed = house.remote.head("main");
    let stale = [("one.txt", None), ("README", Some("a project\n")), ("roy.txt", Some("roy's\n"))];
    house.remote.commit(&Change { branch: "roy/old", from: Some("main"), files: &stale });
    house.announce("roy", "roy/old").await;
    let end = house.events.end_of("roy/old").await;
    assert_eq!((&end["cause"], &end["blame"]), (&json!("policy"), &json!("own")), "{end}");
    assert_eq!(house.events.of("roy/old"), ["queued", "failed"], "nothing was tested");
    let evidence = &end["evidence"];
    assert_eq!(evidence["with"], json!(["r1 (Merge REQ-bob/one from bob by bob)"]), "{end}");
    assert_eq!(evidence["paths"], json!(["README", "one.txt"]), "{end}");
    assert!(evidence["hunk"].as_str().is_some_and(|h| h.contains("-a better project\n+a project")), "{end}");
    let named = |e: &Value| e["next"].to_string().contains(&format!("Reverts: {landed}"));
    assert!(named(&end), "{end}");
    assert_eq!(house.remote.head("main"), landed);

    // The same by bob himself is his own affair.
    house.remote.commit(&Change { branch: "bob/back", from: Some("main"), files: &stale });
    house.announce("bob", "bob/back").await;
    assert_eq!(house.events.end_of("bob/back").await["type"], "merge_complete");
    assert_eq!(house.remote.file("main", "one.txt"), None);
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
