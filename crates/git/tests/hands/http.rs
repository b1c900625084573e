//! The same hands on git's own HTTP server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use yardmaster_git::{GitError, PinAsk};
use yardmaster_protocol::{Assembly, Inspection, LandOutcome, RequestId};

use crate::remote::{World, branch, git, main, spec};

/// Serves a directory of repositories on loopback until the test process ends.
fn serve(root: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let root = root.clone();
            std::thread::spawn(move || answer(stream, &root));
        }
    });
    format!("http://{address}")
}

/// One request, one `git http-backend`, then the connection is closed.
fn answer(mut stream: TcpStream, root: &Path) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut words = first.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v);
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut backend = Command::new("git")
        .args(["-c", "http.receivepack=true", "http-backend"])
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut stdin = backend.stdin.take()?;
    std::thread::spawn(move || stdin.write_all(&body));
    let output = backend.wait_with_output().ok()?.stdout;
    let end = output.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let status = head.lines().find_map(|l| l.strip_prefix("Status: ")).unwrap_or("200 OK");
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n{head}").ok()?;
    stream.write_all(&output[end..]).ok()
}

#[test]
fn over_http_it_pins_assembles_and_lands() {
    let world = World::new();
    let head = world.branch("roy/1", |w| w.write("x", "1\n"));
    git(&world.remote, &["config", "http.receivepack", "true"]);
    let url = serve(world.dir.path().to_owned());
    let mirror = world.mirror_of(&format!("{url}/remote.git"));
    let tip = mirror.look(&main(), None, &[]).expect("a sighting").tip;
    let ask = |r: u64, name: &str| PinAsk { request: RequestId(r), branch: branch(name), commit: None };
    let answers = mirror.pin(&[ask(1, "roy/1"), ask(2, "never")], tip).expect("the remote answers");
    assert!(matches!(answers[0].1, Inspection::Pinned { .. }));
    assert_eq!(answers[1].1, Inspection::BranchMissing);
    let stack = mirror.assemble(tip, &[spec(1, head)]).expect("assembled");
    let Assembly::Clean { commit, .. } = stack[0].assembly else { panic!("{stack:?}") };

    world.hook("pre-receive", "echo 'not today' >&2; exit 1");
    let declined = mirror.land(&main(), tip, commit, &[]);
    assert!(
        matches!(&declined, LandOutcome::Declined { why, .. } if why.contains("not today")),
        "{declined:?}"
    );
    world.hook("pre-receive", "exit 0");
    assert!(matches!(mirror.land(&main(), tip, commit, &[]), LandOutcome::Landed { .. }));
    assert_eq!(world.remote_tip("main"), commit);
}

#[test]
fn a_server_without_the_repository_does_not_answer() {
    let world = World::new();
    let url = serve(world.dir.path().to_owned());
    let mirror = world.mirror_of(&format!("{url}/nothing.git"));
    assert!(matches!(mirror.look(&main(), None, &[]), Err(GitError::Unreachable { .. })));
}
