use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, sleep_until};
use yardmaster_bus::{Client, EventStart};
use yardmaster_protocol::{Event, EventBody, RequestId, RequestRow, RequestView};

use crate::error::CliError;
use crate::exit::Exit;
use crate::screen::{Line, Live, Out, style};
use crate::words;

/// Events tell everything; this is for a daemon that was replaced while nobody looked, or is gone.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Who takes over needs a moment; after so many questions without an answer it is told.
const PATIENCE: u32 = 2;
const FRAME: Duration = Duration::from_millis(100);
const SPINNER: [&str; 8] = ["⣾", "⣽", "⣻", "⢿", "⡿", "⣟", "⣯", "⣷"];

/// Follows a request until it ends. Asks, so that what cannot be is said at once; listens; and asks again:
/// what happens in between is seen twice and never missed.
pub(crate) async fn to_the_end(
    client: &Client,
    what: &str,
    longest: Option<Duration>,
    out: Out,
) -> Result<RequestView, CliError> {
    let started = Instant::now();
    let deadline = longest.map(|longest| tokio::time::Instant::now() + longest);
    let id = client.request_status(what).await?.row.request;
    let mut events = client.events(EventStart::New).await?;
    let mut view = client.request_status(&id.to_string()).await?;
    let mut progress = Progress::start(out, &view);
    let mut ask = interval(ASK_AGAIN);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ask.reset();
    let mut frame = interval(FRAME);
    while Exit::of_request(&view).is_none() {
        tokio::select! {
            event = events.next() => {
                let Some(event) = event?.event else { continue };
                if event.about.as_ref().is_none_or(|about| about.request != id) {
                    continue;
                }
                progress.tell(&event);
                view = client.request_status(&id.to_string()).await.unwrap_or_else(|_| guess(view, &event));
            }
            _ = ask.tick() => {
                let answer = client.request_status(&id.to_string()).await;
                progress.answered(answer.is_ok(), id);
                view = answer.unwrap_or(view);
            }
            _ = frame.tick(), if progress.is_live() => progress.draw(&view, started.elapsed()),
            () = sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)), if deadline.is_some() => {
                return Err(too_late(&view, longest.unwrap_or_default(), progress.silence.is_long()));
            }
        }
    }
    Ok(view)
}

fn too_late(view: &RequestView, longest: Duration, silent: bool) -> CliError {
    let row = &view.row;
    let place = row.position.map(|p| format!(" at {p}")).unwrap_or_default();
    let silent = if silent { format!(", and {NOBODY}") } else { String::new() };
    let longest = words::duration(u64::try_from(longest.as_millis()).unwrap_or(u64::MAX));
    CliError::TimedOut {
        message: format!("{} has not ended after {longest}: it is {}{place}{silent}", row.request, row.state),
        next: vec![format!("yardmaster wait {}", row.request), format!("yardmaster status {}", row.request)],
    }
}

/// What the event says, when the daemon that published it does not answer any more.
fn guess(view: RequestView, event: &Event) -> RequestView {
    let ended = |state: &str, note: String| RequestRow {
        state: state.to_owned(),
        note,
        position: None,
        ..view.row.clone()
    };
    match &event.body {
        EventBody::MergeComplete { commit, .. } => {
            RequestView { row: ended("landed", String::new()), commit: *commit, ..view }
        }
        EventBody::MergeFailed(failure) => {
            RequestView { row: ended("failed", String::new()), failure: Some(failure.clone()), ..view }
        }
        EventBody::MergeWithdrawn { by } => {
            RequestView { row: ended("withdrawn", format!("by {by}")), ..view }
        }
        EventBody::MergeSuperseded { by } => {
            RequestView { row: ended("superseded", format!("by {by}")), ..view }
        }
        _ => view,
    }
}

/// What is shown on stderr while somebody waits: one line that moves, or a line for each event.
struct Progress {
    live: Option<Live>,
    out: Out,
    frame: usize,
    silence: Silence,
}

/// Whether anybody serves the queue.
pub(crate) struct Silence {
    /// Questions without an answer, up to now,
    missed: u32,
    /// and so many are no news: a daemon that is being replaced needs a moment.
    patience: u32,
}

/// That nobody does, in words.
pub(crate) const NOBODY: &str = "no daemon answers";
/// That somebody does again.
pub(crate) const BACK: &str = "a daemon answers again";

impl Silence {
    pub(crate) fn after(patience: u32) -> Silence {
        Silence { missed: 0, patience }
    }

    /// A question was answered, or not. Whether that is news.
    pub(crate) fn heard(&mut self, answered: bool) -> bool {
        let was = self.is_long();
        self.missed = if answered { 0 } else { self.missed.saturating_add(1) };
        was != self.is_long()
    }

    /// Whether it has lasted too long for a daemon that is being replaced.
    pub(crate) fn is_long(&self) -> bool {
        self.missed >= self.patience
    }
}

impl Progress {
    fn start(out: Out, view: &RequestView) -> Progress {
        let live = out.has_live_progress().then(Live::stderr);
        if live.is_none() && Exit::of_request(view).is_none() {
            let row = &view.row;
            out.progress(&now(row.request, row).add(style::DIM, format!(" · {}", row.branch)));
        }
        Progress { live, out, frame: 0, silence: Silence::after(PATIENCE) }
    }

    fn is_live(&self) -> bool {
        self.live.is_some()
    }

    fn answered(&mut self, answered: bool, id: RequestId) {
        if !self.silence.heard(answered) || self.live.is_some() {
            return;
        }
        self.out.progress(&match self.silence.is_long() {
            true => Line::styled(
                style::YELLOW,
                format!("{NOBODY}: {id} is kept, and goes on when one serves again"),
            ),
            false => Line::styled(style::DIM, BACK),
        });
    }

    fn tell(&mut self, event: &Event) {
        if self.live.is_none() && !event.body.is_terminal() {
            self.out.progress(&words::event(event));
        }
    }

    fn draw(&mut self, view: &RequestView, waited: Duration) {
        let Some(live) = &mut self.live else { return };
        let symbol = SPINNER[self.frame % SPINNER.len()];
        self.frame += 1;
        let waited = words::duration(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX));
        let line = Line::styled(style::CYAN, format!("{symbol} ")).join(now(view.row.request, &view.row));
        let line = line.add(style::DIM, format!(" · {waited}"));
        let silent = self.silence.is_long().then(|| format!(" · {NOBODY}; it goes on when one serves again"));
        live.draw(vec![line.add(style::YELLOW, silent.unwrap_or_default())]);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(live) = &mut self.live {
            live.draw(Vec::new());
        }
    }
}

fn now(id: RequestId, row: &RequestRow) -> Line {
    let (_, colour) = style::of_state(&row.state);
    let place = row.position.map(|p| format!(" · position {p}")).unwrap_or_default();
    let note = if row.note.is_empty() { String::new() } else { format!(" · {}", row.note) };
    Line::styled(style::BOLD, format!("{id} ")).add(colour, &row.state).text(format!("{place}{note}"))
}
