//! Tells every story of `tests/stories` in the simulator.

use std::path::Path;

#[test]
fn every_story_comes_true() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/stories");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "story"));
    files.sort();
    assert!(files.len() > 20, "the stories are missing");
    let mut broken = Vec::new();
    for file in files {
        let story = yardmaster_sim::story::parse(&std::fs::read_to_string(&file).unwrap());
        let result = story.and_then(|story| {
            assert!(!story.about.is_empty(), "{} does not say what it shows", file.display());
            yardmaster_sim::tell(&story)
        });
        if let Err(why) = result {
            broken.push(format!("{}: {why}", file.file_name().unwrap().display()));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn a_story_that_is_not_so_is_told_apart() {
    let story = |text: &str| yardmaster_sim::story::parse(text).and_then(|s| yardmaster_sim::tell(&s));
    assert_eq!(story("change A\nannounce A\ntesting A on main\nfinish A\nmain: base A\nruns 1"), Ok(()));
    for wrong in ["main: base", "runs 2", "events A: queued", "testing A on main", "stopped A", "finish A"] {
        let told = story(&format!("change A\nannounce A\nfinish A\n{wrong}"));
        assert!(told.is_err(), "{wrong}");
    }
    for nonsense in ["fly A", "testing A", "window x", "cut next push soon arrival", "announce A at x"] {
        assert!(yardmaster_sim::story::parse(nonsense).is_err(), "{nonsense}");
    }
}
