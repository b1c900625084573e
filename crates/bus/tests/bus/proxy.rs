use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happens to what the server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Downstream {
    Pass,
    /// Kept until it passes again.
    Hold,
    /// Thrown away.
    Drop,
}

/// A bad line between a client and a server: what the client says always arrives.
pub(crate) struct Proxy {
    pub(crate) url: String,
    state: watch::Sender<(Downstream, u64)>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn to(server: &str) -> Proxy {
        let target = server.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let url = format!("nats://{}", listener.local_addr().expect("an address"));
        let (state, watched) = watch::channel((Downstream::Pass, 0));
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&target).await else { continue };
                lines.spawn(line(client, server, watched.clone()));
            }
        });
        Proxy { url, state, _accepting: accepting }
    }

    pub(crate) fn set(&self, downstream: Downstream) {
        self.state.send_modify(|s| s.0 = downstream);
    }

    /// Ends every connection; the next ones pass.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|s| *s = (Downstream::Pass, s.1 + 1));
    }
}

async fn line(client: TcpStream, server: TcpStream, state: watch::Receiver<(Downstream, u64)>) {
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let life = state.borrow().1;
    let mut cut = state.clone();
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        () = down(from_server, to_client, state) => {}
        _ = cut.wait_for(|s| s.1 != life) => {}
    }
}

async fn down(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<(Downstream, u64)>,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(n) = from.read(&mut buffer).await {
        if n == 0 || state.wait_for(|s| s.0 != Downstream::Hold).await.is_err() {
            return;
        }
        let passes = state.borrow().0 == Downstream::Pass;
        if passes && to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
