use yardmaster_tests::{Events, House, PlainServer};

/// With the rights that `deploy/k8s/nats.conf` gives a runner, everything works that a runner does: the candidate,
/// small and large, the report, the log, labels. With less it would not know what hit it.
#[tokio::test(flavor = "multi_thread")]
async fn a_runner_needs_no_more_rights_than_are_listed() {
    let listed = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/k8s/nats.conf"));
    let listed = listed.expect("it is there");
    let (_, rights) = listed.split_once("authorization {").expect("users");
    let rights = ["DAEMON", "AGENTS", "RUNNER"]
        .iter()
        .fold(rights.to_owned(), |text, who| text.replace(&format!("${who}_PASSWORD"), "\"secret\""));
    let project = "[[gate.steps]]\nname = \"gate\"\nrun = \"test ! -e red\"\nlabels = [\"gpu\"]\n";
    let mut house = House::build_with(&[(".yardmaster.toml", project)]).await;
    let store = house.dir.path().join("guarded-store");
    let config = format!("jetstream {{ store_dir: \"{}\" }}\nauthorization {{{rights}", store.display());
    let server = PlainServer::start(&house.dir.path().join("guarded"), &config).await;
    house.url = server.url.clone();
    let daemon = async_nats::ConnectOptions::with_user_and_password("daemon".into(), "secret".into());
    house.nats = daemon.connect(&house.url).await.expect("connected");
    house.events = Events::listen(&house.nats).await;
    let env = [("YARDMASTER__NATS__USER", "daemon"), ("YARDMASTER__NATS__PASSWORD", "secret")];
    house.start_with(&["--slots", "0"], &env).await;
    let mut runner =
        house.runner("guarded", &["--remote=", "--label", "gpu", "--user", "runner", "--password", "secret"]);
    runner.ready().await;
    let big: String =
        (0..90_000).map(|n: u64| format!("{:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.branch("bob/two", &[("two.txt", &big)]);
    house.branch("cid/three", &[("red", "\n")]);
    for (agent, branch) in [("ann", "ann/one"), ("bob", "bob/two")] {
        house.announce(agent, branch).await;
        assert_eq!(house.events.end_of(branch).await["type"], "merge_complete", "{}", runner.log());
    }
    house.announce("cid", "cid/three").await;
    assert_eq!(house.events.end_of("cid/three").await["cause"], "gate_red");
    let log = runner.log();
    assert!(!log.to_lowercase().contains("permission"), "{log}");
    assert!(!log.contains("secret"), "a password is in the log:\n{log}");
    assert_eq!(runner.stop().await, Some(0));
    // The log has reached the bucket, and nothing was asked for in vain.
    let js = async_nats::jetstream::new(house.nats.clone());
    let bucket = js.get_object_store("yardmaster-logs-default").await.expect("a bucket");
    let run = house.events.end_of("cid/three").await["evidence"]["log"].as_str().expect("a run").to_owned();
    assert!(bucket.info(&run).await.expect("kept").size > 0);
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
