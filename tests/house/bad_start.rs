use std::fs;

use async_nats::jetstream::{self, stream};
use yardmaster_tests::{Change, House, PROJECT, PlainServer};

/// A start that is refused: its exit code and everything that it prints.
async fn told(house: &House, more: &[&str], env: &[(&str, &str)]) -> String {
    let refused = house.refused(more, env).await;
    format!("{}\n--- exit {:?}", refused.text, refused.code.unwrap_or(-1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_is_not_there() {
    let house = House::build().await;
    fs::rename(house.remote.path(), house.dir.path().join("away.git")).expect("moved");
    insta::assert_snapshot!(told(&house, &[], &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_is_no_repository() {
    let house = House::build().await;
    let path = house.dir.path().to_string_lossy().into_owned();
    insta::assert_snapshot!(told(&house, &["--remote", &path], &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_could_be_an_option() {
    let house = House::build().await;
    let mut texts = Vec::new();
    for remote in ["--upload-pack=touch pwned", "ext::sh -c 'touch pwned'", " "] {
        texts.push(told(&house, &[&format!("--remote={remote}")], &[]).await);
    }
    insta::assert_snapshot!(texts.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_without_any_commit() {
    let house = House::empty().await;
    insta::assert_snapshot!(told(&house, &[], &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_not_there() {
    let house = House::build().await;
    insta::assert_snapshot!(told(&house, &["--target", "production"], &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_gate() {
    let house = House::build_with(&[("README", "a project\n")]).await;
    insta::assert_snapshot!(told(&house, &[], &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_file_that_is_broken() {
    let house = House::build_with(&[(".yardmaster.toml", "[gate]\nrun = \"make test\n")]).await;
    let mut texts = vec![told(&house, &[], &[]).await];
    for text in ["[gate]\n", "[gate]\ncommand = \"make test\"\n", "[gates]\n"] {
        house.remote.commit(&Change {
            branch: "main",
            from: Some("main"),
            files: &[(".yardmaster.toml", Some(text))],
        });
        texts.push(told(&house, &[], &[]).await);
    }
    insta::assert_snapshot!(texts.join("\n"));
}

/// A directory under a file: nobody can write there, not even root.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_cannot_be_made() {
    let house = House::build().await;
    let file = house.dir.path().join("file");
    fs::write(&file, "").expect("written");
    let path = file.join("state").to_string_lossy().into_owned();
    insta::assert_snapshot!(told(&house, &["--state-dir", &path], &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_same_state() {
    let mut house = House::build().await;
    house.start(&["--nats-url", "embedded"]).await;
    insta::assert_snapshot!(told(&house, &["--nats-url", "embedded"], &[]).await);
    assert_eq!(house.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_of_another_remote() {
    let mut house = House::build().await;
    house.start(&[]).await;
    house.stop().await;
    let other = house.dir.path().join("other.git");
    yardmaster_tests::Remote::create(&other);
    let other = other.to_string_lossy().into_owned();
    insta::assert_snapshot!(told(&house, &["--remote", &other], &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_address_of_nats() {
    let house = House::build().await;
    // A port that was free a moment ago.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let mut texts = Vec::new();
    for url in [&format!("nats://127.0.0.1:{port}"), "http://ann:secret@example.com"] {
        texts.push(told(&house, &["--nats-url", url], &[]).await);
    }
    insta::assert_snapshot!(texts.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_that_asks_who_we_are() {
    let house = House::build().await;
    let config = "jetstream { store_dir: \"STORE\" }\nauthorization { user: roy, password: secret }";
    let dir = house.dir.path().join("closed");
    let server = PlainServer::start(&dir, &config.replace("STORE", &dir.to_string_lossy())).await;
    let flags = ["--nats-url", server.url.as_str()];
    let nobody = told(&house, &flags, &[]).await;
    let wrong =
        told(&house, &flags, &[("YARDMASTER__NATS__USER", "roy"), ("YARDMASTER__NATS__PASSWORD", "wrong")])
            .await;
    assert!(!wrong.contains("secret"), "{wrong}");
    let half = told(&house, &flags, &[("YARDMASTER__NATS__USER", "roy")]).await;
    let missing = house.dir.path().join("none.creds").to_string_lossy().into_owned();
    let no_file = told(&house, &flags, &[("YARDMASTER__NATS__CREDENTIALS", &missing)]).await;
    insta::assert_snapshot!([nobody, wrong, half, no_file].join("\n"));
    let mut daemon = house
        .launch_with(&flags, &[("YARDMASTER__NATS__USER", "roy"), ("YARDMASTER__NATS__PASSWORD", "secret")]);
    daemon.ready().await;
    assert!(!daemon.log().contains("secret"), "{}", daemon.log());
    assert_eq!(daemon.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_without_jetstream() {
    let house = House::build().await;
    let server = PlainServer::start(&house.dir.path().join("plain"), "").await;
    insta::assert_snapshot!(told(&house, &["--nats-url", &server.url], &[]).await);
}

/// Streams that somebody made, and that would lose work.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_cannot_serve() {
    let house = House::build().await;
    let js = jetstream::new(house.nats.clone());
    let good = stream::Config {
        name: "INTEGRATION".to_owned(),
        subjects: vec!["work.integration.>".to_owned()],
        ..stream::Config::default()
    };
    let bad = [
        stream::Config { storage: stream::StorageType::Memory, ..good.clone() },
        stream::Config { subjects: vec!["work.integration.roy".to_owned()], ..good.clone() },
        stream::Config { retention: stream::RetentionPolicy::Interest, ..good.clone() },
        stream::Config { name: "EVERYTHING".to_owned(), subjects: vec!["work.>".to_owned()], ..good.clone() },
        stream::Config { max_age: std::time::Duration::from_secs(5), ..good.clone() },
    ];
    let mut texts = Vec::new();
    for config in bad {
        let name = config.name.clone();
        js.create_stream(config).await.expect("created");
        texts.push(told(&house, &[], &[]).await);
        js.delete_stream(&name).await.expect("deleted");
    }
    insta::assert_snapshot!(texts.join("\n"));
}

/// Streams that somebody made, and that serve as they are: they are left as they are.
#[tokio::test(flavor = "multi_thread")]
async fn streams_of_somebody_else_that_can_serve_are_not_altered() {
    let mut house = House::build().await;
    let js = jetstream::new(house.nats.clone());
    let config = stream::Config {
        name: "INTEGRATION".to_owned(),
        subjects: vec!["work.integration.*".to_owned(), "other.>".to_owned()],
        max_messages: 5_000,
        description: Some("ours".to_owned()),
        ..stream::Config::default()
    };
    js.create_stream(config).await.expect("created");
    let before = js.get_stream("INTEGRATION").await.expect("there").cached_info().config.clone();
    house.branch("ann/one", &[("one.txt", "1\n")]);
    // Published before any daemon was there.
    house.announce("ann", "ann/one").await;
    house.start(&[]).await;
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    house.stop().await;
    let after = js.get_stream("INTEGRATION").await.expect("there").cached_info().config.clone();
    assert_eq!(before, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_file_that_cannot_be_used() {
    let house = House::build().await;
    let file = house.dir.path().join("yardmaster.toml");
    let path = file.to_string_lossy().into_owned();
    let mut texts = vec![told(&house, &["--config", &path], &[]).await];
    let several = "[repo]\ntarget = \"a..b\"\npoll = \"soon\"\n[nats]\nreplicas = 2\nuser = \"roy\"\n\
                   [runner]\nslots = 300\n[git]\ncross_check = \"maybe\"\n[changelog]\nenabled = true\npath = \"../x\"\n";
    for text in
        ["[repo]\nremote = \"x\n", "[runner]\nslots = \"many\"\n", "[repo]\nremoet = \"x\"\n", several]
    {
        fs::write(&file, text).expect("written");
        texts.push(told(&house, &["--config", &path], &[]).await);
    }
    insta::assert_snapshot!(texts.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_cannot_be_used() {
    let house = House::build().await;
    let mut texts = Vec::new();
    let bad = [
        ("YARDMASTER__RUNNER__SLOTS", "many"),
        ("YARDMASTER__RUNNER__SLOTS", "1000"),
        ("YARDMASTER__REPO__TARGTE", "main"),
        ("YARDMASTER__QUEUE__AGEING", "ten minutes"),
        ("YARDMASTER__QUEUE__BATCH", "0"),
        ("YARDMASTER__NAME", "no spaces"),
        ("YARDMASTER__GATE__COMMAND", " "),
    ];
    for pair in bad {
        texts.push(told(&house, &[], &[pair]).await);
    }
    insta::assert_snapshot!(texts.join("\n"));
}

/// What the weaker layers say is overruled by the stronger ones.
#[tokio::test(flavor = "multi_thread")]
async fn flags_overrule_the_environment_and_that_the_file() {
    let mut house = House::build_with(&[(".yardmaster.toml", PROJECT), ("README", "a project\n")]).await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    let file = house.dir.path().join("yardmaster.toml");
    fs::write(&file, "[gate]\ncommand = \"test ! -e one.txt || exit 3\"\n[repo]\ntarget = \"nowhere\"\n")
        .expect("written");
    let path = file.to_string_lossy().into_owned();
    let env =
        [("YARDMASTER__GATE__COMMAND", "test ! -e one.txt || exit 4"), ("YARDMASTER__REPO__TARGET", "main")];
    house.start_with(&["--config", &path, "--gate", "test ! -e one.txt || exit 5"], &env).await;
    house.announce("ann", "ann/one").await;
    assert_eq!(house.events.end_of("ann/one").await["evidence"]["exit_code"], 5);
    house.stop().await;
    let refused = house.refused(&["--config", &path], &[]).await;
    assert!(refused.text.contains("nowhere"), "{}", refused.text);
}
