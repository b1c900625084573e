use yardmaster_tests::{Change, House};

/// Two requests never conflict over it, and each entry is part of its own merge commit.
#[tokio::test(flavor = "multi_thread")]
async fn entries_are_part_of_the_merge_commits_and_never_conflict() {
    let mut house = House::build().await;
    let log = "# Changelog\n\n## Unreleased\n\n- the beginning\n";
    house.remote.commit(&Change {
        branch: "main",
        from: Some("main"),
        files: &[("CHANGELOG.md", Some(log))],
    });
    for name in ["a", "b", "c"] {
        house.branch(&format!("ann/{name}"), &[(name, "x\n")]);
    }
    house.start_with(&[], &[("YARDMASTER__CHANGELOG__ENABLED", "true")]).await;
    for name in ["a", "b", "c"] {
        house
            .announce_with(
                "ann",
                &format!("ann/{name}"),
                &serde_json::json!({"title": format!("Adds {name}")}),
            )
            .await;
    }
    for name in ["ann/a", "ann/b", "ann/c"] {
        assert_eq!(house.events.end_of(name).await["type"], "merge_complete", "{}", house.events.told());
    }
    house.stop().await;
    let text = house.remote.file("main", "CHANGELOG.md").expect("a changelog");
    let mut entries: Vec<&str> = text.lines().filter(|l| l.starts_with("- ")).collect();
    entries.sort_unstable();
    assert_eq!(
        entries,
        [
            "- REQ-ann/a: Adds a (ann)",
            "- REQ-ann/b: Adds b (ann)",
            "- REQ-ann/c: Adds c (ann)",
            "- the beginning"
        ]
    );
    let merges = house.remote.git(&["log", "--first-parent", "--format=%H", "-3", "main"]);
    for merge in merges.lines() {
        let changed = house.remote.git(&["diff", "--name-only", &format!("{merge}^1"), merge]);
        let files: Vec<&str> = changed.lines().collect();
        assert_eq!(files.len(), 2, "{files:?}");
        assert_eq!(files[0], "CHANGELOG.md");
        let lines =
            house.remote.git(&["diff", "--numstat", &format!("{merge}^1"), merge, "--", "CHANGELOG.md"]);
        assert!(lines.starts_with("1\t0\t"), "one line more, none less: {lines}");
    }
    house.check().await;
}
