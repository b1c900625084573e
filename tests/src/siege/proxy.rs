use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

const CHUNK: usize = 4 << 10;

/// How the way to the server is at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Way {
    /// Connections of an earlier number are cut.
    cut: u64,
    /// Nobody listens.
    closed: bool,
    /// Each chunk waits for so long.
    delay: Duration,
    /// Nothing gets to the server, though it is taken.
    up_is_still: bool,
    /// Nothing comes back.
    down_is_still: bool,
}

/// A wire to a server that can be cut, closed, slowed and blocked, each way or both.
pub(crate) struct Proxy {
    pub(crate) url: String,
    way: watch::Sender<Way>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Connections right now.
    open: AtomicUsize,
    /// Connections that were cut, and chunks that had to wait.
    touched: AtomicUsize,
}

impl Proxy {
    /// Listens on a free port in front of `server`.
    pub(crate) async fn start(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let here = listener.local_addr().expect("an address");
        let (way, watched) = watch::channel(Way::default());
        let counts = Arc::new(Counts::default());
        tokio::spawn(listen(listener, here, server, watched, Arc::clone(&counts)));
        Proxy { url: format!("nats://{here}"), way, counts }
    }

    /// Every connection ends at once; new ones come through.
    pub(crate) fn cut(&self) {
        self.all_are_touched();
        self.way.send_modify(|way| way.cut += 1);
    }

    /// Every connection ends at once, and new ones are refused.
    pub(crate) fn close(&self) {
        self.all_are_touched();
        self.way.send_modify(|way| (way.cut, way.closed) = (way.cut + 1, true));
    }

    /// Each chunk waits for so long, both ways.
    pub(crate) fn slow(&self, delay: Duration) {
        self.way.send_modify(|way| way.delay = delay);
    }

    /// What is sent is taken and gets nowhere: to the server, from it, or both.
    pub(crate) fn block(&self, up: bool, down: bool) {
        self.way.send_modify(|way| (way.up_is_still, way.down_is_still) = (up, down));
    }

    /// Everything gets through again; what was held up goes on where its connection still is.
    pub(crate) fn heal(&self) {
        self.way.send_modify(|way| *way = Way { cut: way.cut, ..Way::default() });
    }

    /// How often something was cut or had to wait so far.
    pub(crate) fn touched(&self) -> usize {
        self.counts.touched.load(Ordering::SeqCst)
    }

    fn all_are_touched(&self) {
        self.counts.touched.fetch_add(self.counts.open.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

async fn listen(
    first: TcpListener,
    here: SocketAddr,
    server: SocketAddr,
    mut way: watch::Receiver<Way>,
    counts: Arc<Counts>,
) {
    let mut listener = Some(first);
    loop {
        let closed = way.borrow_and_update().closed;
        match (&listener, closed) {
            // Only a port that nobody listens at refuses.
            (Some(_), true) => listener = None,
            (None, false) => listener = TcpListener::bind(here).await.ok(),
            _ => {}
        }
        let next = async {
            match &listener {
                Some(listener) => listener.accept().await.ok(),
                None if closed => std::future::pending().await,
                None => {
                    sleep(Duration::from_millis(5)).await;
                    None
                }
            }
        };
        tokio::select! {
            changed = way.changed() => if changed.is_err() { return },
            accepted = next => if let Some((client, _)) = accepted {
                tokio::spawn(carry(client, server, way.clone(), Arc::clone(&counts)));
            },
        }
    }
}

async fn carry(client: TcpStream, server: SocketAddr, mut way: watch::Receiver<Way>, counts: Arc<Counts>) {
    let mine = way.borrow().cut;
    let Ok(server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    counts.open.fetch_add(1, Ordering::SeqCst);
    let up = pump(from_client, to_server, way.clone(), |way| way.up_is_still, &counts.touched);
    let down = pump(from_server, to_client, way.clone(), |way| way.down_is_still, &counts.touched);
    tokio::select! {
        () = up => {}
        () = down => {}
        // Also when the proxy itself is gone.
        _ = way.wait_for(|way| way.cut != mine) => {}
    }
    counts.open.fetch_sub(1, Ordering::SeqCst);
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    is_still: impl Fn(&Way) -> bool,
    touched: &AtomicUsize,
) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let now = *way.borrow();
        if is_still(&now) || !now.delay.is_zero() {
            touched.fetch_add(1, Ordering::SeqCst);
        }
        sleep(now.delay).await;
        if way.wait_for(|way| !is_still(way)).await.is_err() || to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(60);

    /// Sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let here = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        here
    }

    async fn call(proxy: &Proxy) -> std::io::Result<TcpStream> {
        TcpStream::connect(proxy.url.trim_start_matches("nats://")).await
    }

    async fn answers(stream: &mut TcpStream) -> bool {
        let mut word = [0; 2];
        stream.write_all(b"hi").await.is_ok() && stream.read_exact(&mut word).await.is_ok() && word == *b"hi"
    }

    #[tokio::test]
    async fn what_is_cut_ends_and_what_is_closed_refuses_until_it_is_healed() {
        let proxy = Proxy::start(echo().await).await;
        let mut stream = call(&proxy).await.expect("connected");
        assert!(answers(&mut stream).await);
        proxy.cut();
        assert_eq!(proxy.touched(), 1);
        assert!(!answers(&mut stream).await || !answers(&mut stream).await);
        assert!(answers(&mut call(&proxy).await.expect("connected again")).await);
        proxy.close();
        while let Ok(mut stream) = call(&proxy).await {
            let _ = answers(&mut stream).await;
        }
        proxy.heal();
        let again = async {
            loop {
                if let Ok(mut stream) = call(&proxy).await {
                    return answers(&mut stream).await;
                }
            }
        };
        assert!(timeout(crate::PATIENCE, again).await.expect("it listens again"));
        assert!(proxy.touched() >= 1);
    }

    #[tokio::test]
    async fn what_is_blocked_either_way_waits_and_then_comes() {
        for (up, down) in [(true, false), (false, true), (true, true)] {
            let proxy = Proxy::start(echo().await).await;
            let mut stream = call(&proxy).await.expect("connected");
            proxy.block(up, down);
            assert!(timeout(MOMENT, answers(&mut stream)).await.is_err(), "blocked {up} {down}");
            proxy.heal();
            let mut word = [0; 2];
            stream.read_exact(&mut word).await.expect("it comes");
            assert_eq!((word, proxy.touched()), (*b"hi", 1));
        }
    }
}
