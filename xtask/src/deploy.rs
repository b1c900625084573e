use std::fs;
use std::path::Path;
use std::process::Command;

use yaml_rust2::{Yaml, YamlLoader};

use crate::dockerfile;
use crate::error::XtaskError;
use crate::paths::Paths;
use crate::{kubernetes, nats, process};

const KUBERNETES: &str = "deploy/k8s";
const COMPOSE: &str = "docker-compose.yml";
const SERVICES: &[&str] = &["nats", "remote", "yardmaster"];
const SCRIPTS: &[&str] = &["deploy/demo-agents.sh", "deploy/demo-remote.sh", ".ci/run"];
const UNIT: &str = "deploy/systemd/yardmaster.service";
const INSTALLED: &str = "/usr/local/bin/yardmaster";

/// Looks at every deployment file by our own rules, and with each outside tool that this machine has.
pub(crate) fn check(paths: &Paths) -> Result<(), XtaskError> {
    let mut problems = Vec::new();
    let dockerfile = read(paths, "deploy/Dockerfile")?;
    problems.extend(named("deploy/Dockerfile", dockerfile::problems(&dockerfile, &paths.root)));
    problems.extend(named(COMPOSE, compose_problems(&read(paths, COMPOSE)?, &paths.root)));
    problems.extend(named(KUBERNETES, kubernetes::problems(&paths.root.join(KUBERNETES))));
    for config in ["deploy/nats.conf", "deploy/k8s/nats.conf"] {
        if let Err(error) = server_config(paths, config) {
            problems.push(error.to_string());
        }
    }
    let unit = unit_to_verify(paths)?;
    let unit = unit.to_string_lossy();
    let mut outside: Vec<Vec<&str>> = vec![
        vec!["systemd-analyze", "verify", "--man=no", &unit],
        vec!["kubectl", "kustomize", KUBERNETES],
        vec!["hadolint", "deploy/Dockerfile"],
        vec!["docker", "compose", "--file", COMPOSE, "config", "--quiet"],
    ];
    let mut shellcheck = vec!["shellcheck"];
    shellcheck.extend(SCRIPTS);
    outside.push(shellcheck);
    outside.extend(SCRIPTS.iter().map(|script| vec!["bash", "-n", *script]));
    for words in &outside {
        problems.extend(with_tool(paths, words));
    }
    if problems.is_empty() { Ok(()) } else { Err(XtaskError::Deploy(problems)) }
}

fn read(paths: &Paths, file: &str) -> Result<String, XtaskError> {
    let path = paths.root.join(file);
    fs::read_to_string(&path).map_err(XtaskError::file(&path))
}

fn named(file: &str, problems: Vec<String>) -> impl Iterator<Item = String> {
    problems.into_iter().map(move |problem| format!("{file}: {problem}"))
}

fn with_tool(paths: &Paths, words: &[&str]) -> Option<String> {
    let command = || {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(&paths.root);
        command
    };
    let plugin_missing = words.starts_with(&["docker", "compose"])
        && process::output(Command::new("docker").args(["compose", "version"])).is_err();
    if process::on_path(words[0]).is_empty() || plugin_missing {
        println!("not installed here, so not used: {}", words.join(" "));
        return None;
    }
    println!("{}", words.join(" "));
    process::output(&mut command()).err().map(|error| error.to_string())
}

/// The server itself reads its configuration; a slip in it would otherwise be seen only in a container.
fn server_config(paths: &Paths, config: &str) -> Result<(), XtaskError> {
    let server = nats::locate(paths)?;
    println!("nats-server -t -c {config}");
    let mut command = Command::new(server.path);
    // What a cluster would fill in.
    for name in ["POD_NAME", "DAEMON_PASSWORD", "AGENTS_PASSWORD", "RUNNER_PASSWORD"] {
        command.env(name, "x");
    }
    process::output(command.args(["-t", "-c", config]).current_dir(&paths.root)).map(|_| ())
}

/// systemd-analyze wants the program of the unit to exist, so it is shown a copy that starts another one.
fn unit_to_verify(paths: &Paths) -> Result<std::path::PathBuf, XtaskError> {
    let dir = paths.target.join("deploy-check");
    fs::create_dir_all(&dir).map_err(XtaskError::file(&dir))?;
    let unit = read(paths, UNIT)?;
    if !unit.contains(&format!("ExecStart={INSTALLED} serve")) {
        return Err(XtaskError::Missing(format!("`ExecStart={INSTALLED} serve` in {UNIT}")));
    }
    let copy = dir.join("yardmaster.service");
    fs::write(&copy, unit.replace(INSTALLED, "/bin/true")).map_err(XtaskError::file(&copy))?;
    Ok(copy)
}

/// What is wrong with a compose file, as far as can be seen without an engine.
fn compose_problems(text: &str, root: &Path) -> Vec<String> {
    let documents = match YamlLoader::load_from_str(text) {
        Ok(documents) => documents,
        Err(error) => return vec![error.to_string()],
    };
    let Some(compose) = documents.first() else { return vec!["it is empty".to_owned()] };
    let services = keys(&compose["services"]);
    let volumes = keys(&compose["volumes"]);
    let mut problems = Vec::new();
    for needed in SERVICES.iter().filter(|needed| !services.iter().any(|s| s == *needed)) {
        problems.push(format!("there is no service `{needed}`"));
    }
    for name in &services {
        let service = &compose["services"][name.as_str()];
        let of_service = service_problems(service, &services, &volumes, root);
        problems.extend(of_service.into_iter().map(|problem| format!("service `{name}`: {problem}")));
    }
    problems
}

fn service_problems(service: &Yaml, services: &[String], volumes: &[String], root: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    let image = service["image"].as_str();
    let build = &service["build"];
    match (image, build.is_badvalue()) {
        (None, true) => problems.push("it has neither image nor build".to_owned()),
        (Some(image), true) if !image.contains(':') || image.ends_with(":latest") => {
            problems.push(format!("image `{image}` is not pinned to a version"));
        }
        _ => {}
    }
    if let Some(file) = build["dockerfile"].as_str().filter(|file| !root.join(file).is_file()) {
        problems.push(format!("there is no {file}"));
    }
    for other in keys(&service["depends_on"]) {
        if !services.contains(&other) {
            problems.push(format!("it depends on `{other}`, which is not there"));
        } else if service["depends_on"][other.as_str()]["condition"].as_str().is_none() {
            problems.push(format!("it does not say in which condition it needs `{other}`"));
        }
    }
    for mount in service["volumes"].as_vec().into_iter().flatten().filter_map(Yaml::as_str) {
        let source = mount.split(':').next().unwrap_or(mount);
        let is_path = source.starts_with('.') || source.starts_with('/');
        if is_path && !root.join(source).exists() {
            problems.push(format!("it mounts {source}, which is not there"));
        } else if !is_path && !volumes.iter().any(|v| v == source) {
            problems.push(format!("it mounts the volume `{source}`, which is not declared"));
        }
    }
    problems
}

fn keys(map: &Yaml) -> Vec<String> {
    let entries = map.as_hash().into_iter().flatten();
    entries.filter_map(|(key, _)| key.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::compose_problems;

    const GOOD: &str = "services:\n  nats: {image: 'nats:2.15', volumes: ['data:/data']}\n  remote: {image: 'x:1'}\n  \
                        yardmaster: {build: ., depends_on: {nats: {condition: service_healthy}}}\nvolumes: {data: {}}\n";

    #[test]
    fn a_good_one_has_no_problem_and_each_mistake_is_named() {
        assert_eq!(compose_problems(GOOD, Path::new("/nowhere")), Vec::<String>::new());
        let mistakes = [
            ("remote:", "remoat:", "there is no service `remote`"),
            ("nats:2.15", "nats", "service `nats`: image `nats` is not pinned to a version"),
            ("['data:", "['date:", "service `nats`: it mounts the volume `date`, which is not declared"),
            ("['data:", "['./x:", "service `nats`: it mounts ./x, which is not there"),
            ("{nats: {c", "{nat: {c", "service `yardmaster`: it depends on `nat`, which is not there"),
            ("{build: ., ", "{", "service `yardmaster`: it has neither image nor build"),
        ];
        for (good, bad, problem) in mistakes {
            let found = compose_problems(&GOOD.replacen(good, bad, 1), Path::new("/nowhere"));
            assert_eq!(found, [problem], "{good} -> {bad}");
        }
        assert_eq!(compose_problems("services: [", Path::new("/")).len(), 1, "broken YAML is one problem");
    }
}
