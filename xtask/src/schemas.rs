use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Map, Value};

use crate::error::XtaskError;
use crate::paths::Paths;

pub(crate) fn run(paths: &Paths, args: &[String]) -> Result<ExitCode, XtaskError> {
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => write(paths)?,
        ["--check"] => check(paths)?,
        _ => return Err(XtaskError::Usage("`schemas` takes only `--check`".to_owned())),
    }
    Ok(ExitCode::SUCCESS)
}

/// That `docs/protocol/` holds what the types say, and no schema of a type that is gone.
pub(crate) fn check(paths: &Paths) -> Result<(), XtaskError> {
    let mut wrong = Vec::new();
    let wanted = wanted(paths)?;
    for (path, text) in &wanted {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match fs::read_to_string(path) {
            Ok(kept) if kept == *text => {}
            Ok(_) => wrong.push(format!("{name} differs")),
            Err(_) => wrong.push(format!("{name} is missing")),
        }
    }
    for path in kept(paths) {
        if wanted.iter().all(|(wanted, _)| *wanted != path) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            wrong.push(format!("{name} belongs to no type"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(XtaskError::StaleSchemas(wrong.join(", "))) }
}

fn write(paths: &Paths) -> Result<(), XtaskError> {
    let dir = dir(paths);
    fs::create_dir_all(&dir).map_err(XtaskError::file(&dir))?;
    let wanted = wanted(paths)?;
    for path in kept(paths) {
        if wanted.iter().all(|(wanted, _)| *wanted != path) {
            eprintln!("xtask: removing {}", path.display());
            fs::remove_file(&path).map_err(XtaskError::file(&path))?;
        }
    }
    for (path, text) in wanted {
        if fs::read_to_string(&path).is_ok_and(|kept| kept == text) {
            continue;
        }
        eprintln!("xtask: writing {}", path.display());
        fs::write(&path, text).map_err(XtaskError::file(&path))?;
    }
    Ok(())
}

fn dir(paths: &Paths) -> PathBuf {
    paths.root.join("docs").join("protocol")
}

fn kept(paths: &Paths) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir(paths)) else { return Vec::new() };
    let files = entries.filter_map(|entry| entry.ok().map(|e| e.path()));
    files.filter(|path| path.extension().is_some_and(|e| e == "json")).collect()
}

fn wanted(paths: &Paths) -> Result<Vec<(PathBuf, String)>, XtaskError> {
    let mut files = Vec::new();
    for (name, schema) in yardmaster_protocol::schemas() {
        let text = serde_json::to_string_pretty(&sorted(schema.to_value()))
            .map_err(|source| XtaskError::Schema { name: name.to_owned(), source })?;
        files.push((dir(paths).join(format!("{name}.json")), format!("{text}\n")));
    }
    Ok(files)
}

/// Keys in one order, whichever order the features of serde_json in this build keep.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<(String, Value)> = map.into_iter().collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(pairs.into_iter().map(|(k, v)| (k, sorted(v))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::{check, write};
    use crate::error::XtaskError;
    use crate::paths::Paths;

    #[test]
    fn what_is_written_is_what_is_checked() {
        let root = tempfile::tempdir().expect("a directory");
        let paths = Paths { root: root.path().to_owned(), target: root.path().join("target") };
        assert!(matches!(check(&paths), Err(XtaskError::StaleSchemas(_))), "nothing is there yet");
        write(&paths).expect("written");
        check(&paths).expect("true");
        std::fs::write(root.path().join("docs/protocol/gone.json"), "{}").expect("a stray file");
        std::fs::write(root.path().join("docs/protocol/event.json"), "{}").expect("a changed file");
        let error = check(&paths).expect_err("not true any more").to_string();
        assert!(error.contains("event.json differs, gone.json belongs to no type"), "{error}");
        write(&paths).expect("written again");
        check(&paths).expect("true again");
    }
}
