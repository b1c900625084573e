use std::fs;
use std::path::Path;

use yaml_rust2::{Yaml, YamlLoader};

/// What KEDA has to look at; the names are those of `crates/bus`.
const STREAM: &str = "YARDMASTER_JOBS";
const CONSUMER: &str = "runners";

/// What is wrong with the files of a kustomization, as far as can be seen without a cluster.
pub(crate) fn problems(dir: &Path) -> Vec<String> {
    let (mut problems, mut objects) = (Vec::new(), Vec::new());
    let main = match documents(&dir.join("kustomization.yaml")) {
        Ok(mut documents) if !documents.is_empty() => documents.remove(0),
        Ok(_) => return vec!["kustomization.yaml is empty".to_owned()],
        Err(why) => return vec![why],
    };
    let renamed: Vec<&str> = list(&main["images"]).filter_map(|i| i["name"].as_str()).collect();
    for file in list(&main["resources"]).filter_map(Yaml::as_str) {
        match documents(&dir.join(file)) {
            Ok(found) => objects.extend(found.into_iter().map(|object| (file.to_owned(), object))),
            Err(why) => problems.push(why),
        }
    }
    for (file, object) in &objects {
        let found = object_problems(object, &renamed);
        problems.extend(found.into_iter().map(|problem| format!("{file}: {problem}")));
    }
    let scalers: Vec<&Yaml> =
        objects.iter().map(|(_, o)| o).filter(|o| o["kind"].as_str() == Some("ScaledObject")).collect();
    if scalers.is_empty() {
        problems.push("nothing scales the runners".to_owned());
    }
    for scaler in scalers {
        let target = scaler["spec"]["scaleTargetRef"]["name"].as_str().unwrap_or_default();
        let is_target = |o: &Yaml| {
            o["kind"].as_str() == Some("Deployment") && o["metadata"]["name"].as_str() == Some(target)
        };
        if !objects.iter().any(|(_, o)| is_target(o)) {
            problems.push(format!("the scaler scales `{target}`, which is not there"));
        }
    }
    problems
}

fn object_problems(object: &Yaml, renamed: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    for key in ["apiVersion", "kind"] {
        if object[key].as_str().is_none() {
            problems.push(format!("it has no {key}"));
        }
    }
    if object["metadata"]["name"].as_str().is_none() {
        problems.push("it has no name".to_owned());
    }
    let pod = &object["spec"]["template"];
    let selected = &object["spec"]["selector"]["matchLabels"];
    if !pod.is_badvalue() && *selected != pod["metadata"]["labels"] {
        problems.push("its selector does not fit its pods".to_owned());
    }
    for container in list(&pod["spec"]["containers"]) {
        let image = container["image"].as_str().unwrap_or_default();
        if !renamed.contains(&image) && (!image.contains(':') || image.ends_with(":latest")) {
            problems.push(format!("image `{image}` is not pinned to a version"));
        }
    }
    for trigger in list(&object["spec"]["triggers"]) {
        let metadata = &trigger["metadata"];
        for (key, wanted) in [("stream", STREAM), ("consumer", CONSUMER)] {
            if metadata[key].as_str() != Some(wanted) {
                problems.push(format!("its trigger's {key} is not `{wanted}`"));
            }
        }
    }
    problems
}

fn documents(path: &Path) -> Result<Vec<Yaml>, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    YamlLoader::load_from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

fn list(yaml: &Yaml) -> impl Iterator<Item = &Yaml> {
    yaml.as_vec().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: runner}\nspec:\n  \
                       selector: {matchLabels: {app: r}}\n  template: {metadata: {labels: {app: r}}, spec: {containers: [{image: y}]}}\n";
    const SCALER: &str = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: r}\nspec: {scaleTargetRef: \
                          {name: runner}, triggers: [{metadata: {stream: YARDMASTER_JOBS, consumer: runners}}]}\n";

    #[test]
    fn a_good_one_has_no_problem_and_each_mistake_is_named() {
        let found = |pod: &str, scaler: &str| {
            let dir = tempfile_dir();
            let main = "resources: [pod.yaml, scaler.yaml]\nimages: [{name: y}]\n";
            for (name, text) in [("kustomization.yaml", main), ("pod.yaml", pod), ("scaler.yaml", scaler)] {
                fs::write(dir.join(name), text).expect("written");
            }
            let problems = problems(&dir);
            fs::remove_dir_all(dir).expect("removed");
            problems
        };
        assert_eq!(found(POD, SCALER), Vec::<String>::new());
        let cases = [
            (POD.replace("{app: r}}, spec", "{app: s}}, spec"), SCALER.to_owned(), "selector"),
            (POD.replace("image: y", "image: z"), SCALER.to_owned(), "not pinned"),
            (POD.replace("name: runner", "name: other"), SCALER.to_owned(), "not there"),
            (POD.to_owned(), SCALER.replace("consumer: runners", "consumer: engine"), "consumer is not"),
            (POD.to_owned(), POD.to_owned(), "nothing scales"),
        ];
        for (pod, scaler, words) in cases {
            let problems = found(&pod, &scaler);
            assert!(problems.iter().any(|p| p.contains(words)), "{words}: {problems:?}");
        }
    }

    fn tempfile_dir() -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("yardmaster-xtask-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        dir
    }
}
