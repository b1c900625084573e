use tokio::sync::watch;

/// A wish to stop that any number of tasks can wait for.
#[derive(Debug, Clone)]
pub struct Shutdown {
    asked: watch::Sender<bool>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { asked: watch::Sender::new(false) }
    }
}

impl Shutdown {
    /// Nobody has asked yet.
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// One that is asked whenever this one is, and can be asked alone.
    pub(crate) fn part(&self) -> Shutdown {
        let (whole, part) = (self.clone(), Shutdown::new());
        let asked = part.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = whole.asked() => asked.ask(),
                () = asked.asked() => {}
            }
        });
        part
    }

    /// Asks everybody to stop.
    pub fn ask(&self) {
        self.asked.send_replace(true);
    }

    /// Whether somebody has asked.
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Returns when somebody has asked.
    pub async fn asked(&self) {
        let mut asked = self.asked.subscribe();
        let _ = asked.wait_for(|asked| *asked).await;
    }
}
