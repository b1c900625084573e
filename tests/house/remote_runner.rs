use yardmaster_tests::House;

/// The daemon tests nothing itself: the runner gets the candidate, which is on no remote, runs the gate and
/// reports.
#[tokio::test(flavor = "multi_thread")]
async fn a_runner_elsewhere_tests_what_lands() {
    for more in [&[][..], &["--remote="]] {
        let mut house = House::build().await;
        house.branch("ann/one", &[("one.txt", "1\n")]);
        house.branch("bob/two", &[("two.txt", "2\n"), ("red", "\n")]);
        house.start(&["--slots", "0"]).await;
        let mut runner = house.runner("elsewhere", more);
        runner.ready().await;
        house.announce("ann", "ann/one").await;
        assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
        house.announce("bob", "bob/two").await;
        let red = house.events.end_of("bob/two").await;
        assert_eq!((&red["type"], &red["cause"]), (&"merge_failed".into(), &"gate_red".into()), "{red}");
        assert_eq!(runner.stop().await, Some(0));
        assert_eq!(house.stop().await, Some(0));
        house.check().await;
    }
}
