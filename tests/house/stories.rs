use std::path::Path;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use yardmaster_sim::story::{Story, parse};

use crate::teller::Teller;

/// Houses that stand at the same time.
const AT_ONCE: usize = 6;

/// Every story of `tests/stories`, told to the real house; the simulator tells the same files.
#[tokio::test(flavor = "multi_thread")]
async fn every_story_comes_true_in_the_real_house() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("stories");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("a folder").flatten().map(|f| f.path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "story"));
    // For the one who mends a story.
    let only = std::env::var("STORY").unwrap_or_default();
    files.retain(|f| f.to_string_lossy().contains(&only));
    files.sort();
    assert!(files.len() > 20 || !only.is_empty(), "the stories are missing");
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut told = JoinSet::new();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let story = parse(&std::fs::read_to_string(&file).expect("text")).expect(&name);
        let places = Arc::clone(&places);
        told.spawn(async move {
            let _place = places.acquire_owned().await;
            let telling = tokio::spawn(tell(story)).await;
            (name, telling.unwrap_or_else(|panic| Err(panic.to_string())))
        });
    }
    let mut broken = Vec::new();
    while let Some(result) = told.join_next().await {
        if let Ok((name, Err(why))) = result {
            broken.push(format!("{name}: {why}"));
        }
    }
    assert!(broken.is_empty(), "{} stories are not so:\n{}", broken.len(), broken.join("\n"));
}

async fn tell(story: Story) -> Result<(), String> {
    let mut teller = Teller::open(&story).await;
    for line in &story.lines {
        let told = teller.line(&line.verb).await;
        told.map_err(|why| format!("line {}: `{}`: {why}\n{}", line.number, line.text, teller.told()))?;
    }
    teller.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_that_is_not_so_is_told_apart() {
    for wrong in ["main: base", "runs 2", "testing A on main", "stopped A", "finish A"] {
        let text = format!("# Wrong.\nwindow 1\nchange A\nannounce A\nfinish A\n{wrong}");
        assert!(tell(parse(&text).expect("a story")).await.is_err(), "{wrong}");
    }
}
