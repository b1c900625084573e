use std::path::{Path, PathBuf};
use std::process::Command;

use yardmaster_tests::House;

const PACKAGE: &str = "nats-py>=2.6,<3";

/// A client that shares no line with us, in another language, works against the page on the wire.
#[tokio::test(flavor = "multi_thread")]
async fn an_independent_client_in_python_finds_all_as_the_page_says() {
    let Some(python) = python() else {
        eprintln!("SKIPPED: no python3 here, so no independent client was tried");
        let agreed = std::env::var("YARDMASTER_NO_PYTHON").is_ok_and(|v| v == "1");
        assert!(
            agreed,
            "python3 with venv is missing: install it, or set YARDMASTER_NO_PYTHON=1 to go without"
        );
        return;
    };
    let mut house = House::build().await;
    house.start(&[]).await;
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/independent.py");
    let mut run = tokio::process::Command::new(python);
    let run = run.arg(client).args([house.url.as_str(), house.remote.url()]).kill_on_drop(true).output();
    let done =
        tokio::time::timeout(yardmaster_tests::PATIENCE * 2, run).await.expect("it ends").expect("it runs");
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{told}\n{}", house.events.told());
    house.stop().await;
    house.check().await;
}

/// A Python that has the client library: from an environment of our own below `target`, made once.
fn python() -> Option<PathBuf> {
    let me = std::env::current_exe().expect("a test has a path");
    let target = me.ancestors().find(|p| p.file_name().is_some_and(|n| n == "target"))?;
    let place = target.join("python");
    let python = place.join("bin/python3");
    let has_it = |python: &Path| {
        Command::new(python).args(["-c", "import nats"]).output().is_ok_and(|o| o.status.success())
    };
    if has_it(&python) {
        return Some(python);
    }
    let made = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place).output();
    if !made.is_ok_and(|o| o.status.success()) {
        return None;
    }
    let pip =
        Command::new(&python).args(["-m", "pip", "install", "--quiet", PACKAGE]).output().expect("pip runs");
    assert!(pip.status.success(), "pip cannot install {PACKAGE}: {}", String::from_utf8_lossy(&pip.stderr));
    has_it(&python).then_some(python)
}
