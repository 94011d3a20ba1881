//! The terminal, and the threads that wait: for keys, for the daemon, for signals.
//!
//! They all tell the one loop here, which alone has the view and draws it. None of them holds it up:
//! a daemon that does not answer is one of the things that are seen. The threads end with the process.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::signal::{SigSet, Signal};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, KeyEvent, KeyEventKind};

use super::Daemon;
use super::draw::{Offsets, Palette, Seen, draw};
use super::view::{View, Wish};
use crate::admin::Glance;

/// What happens.
enum Event {
    Key(KeyEvent),
    /// The terminal is to be drawn anew: it has another size.
    Changed,
    Looked(Box<anyhow::Result<Glance>>),
    /// A signal, or a terminal that cannot be read any more.
    Stop,
}

/// Events that wait to be seen.
const EVENTS_MAX: usize = 64;

/// Shows the daemon until somebody has seen enough. It has to answer once before the terminal is
/// taken.
pub(super) fn run(daemon: Daemon, interval: Duration) -> anyhow::Result<()> {
    let first = daemon.look(None)?;
    let (tell, events) = sync_channel(EVENTS_MAX);
    let (ask, questions) = sync_channel(1);
    // Before the threads are started, because they inherit it.
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    signals.thread_block().context("signals cannot be held back")?;
    start("signals", tell.clone(), move |tell| wait_for_signal(&signals, tell))?;
    start("daemon", tell.clone(), move |tell| look(&daemon, &questions, tell))?;
    let mut terminal = ratatui::try_init().inspect_err(|_| ratatui::restore())?;
    let outcome = start("keys", tell, read_keys).and_then(|()| {
        let shown = Shown::new(first, interval, ask);
        shown.go_on(&mut terminal, &events)
    });
    ratatui::try_restore()?;
    outcome
}

/// What is shown, and what is going on about it.
struct Shown {
    view: View,
    glance: Glance,
    trouble: Option<String>,
    palette: Palette,
    offsets: Offsets,
    interval: Duration,
    ask: SyncSender<Option<String>>,
    asking: Asking,
}

/// Whether the daemon is asked.
#[derive(Clone, Copy)]
enum Asking {
    /// It will be, then.
    Due(Instant),
    /// It is, and once it has answered, again at once or not.
    UnderWay { again: bool },
}

impl Shown {
    fn new(glance: Glance, interval: Duration, ask: SyncSender<Option<String>>) -> Self {
        let mut view = View::default();
        view.settle(&glance);
        Self {
            view,
            glance,
            trouble: None,
            palette: Palette::of_environment(),
            offsets: Offsets::default(),
            interval,
            ask,
            // The first answer has no trend of what is selected.
            asking: Asking::Due(Instant::now()),
        }
    }

    fn go_on(
        mut self,
        terminal: &mut DefaultTerminal,
        events: &Receiver<Event>,
    ) -> anyhow::Result<()> {
        loop {
            let Self { view, glance, trouble, palette, offsets, .. } = &mut self;
            let seen = Seen { view, glance, trouble: trouble.as_deref(), palette: *palette };
            terminal.draw(|frame| draw(frame, &seen, offsets))?;
            let Some(first) = self.wait(events)? else {
                self.ask();
                continue;
            };
            // What has come meanwhile is drawn together.
            for event in std::iter::once(first).chain(events.try_iter().take(EVENTS_MAX)) {
                if self.take(event) == Wish::Quit {
                    return Ok(());
                }
            }
        }
    }

    /// The next event; nothing if it is time to ask the daemon.
    fn wait(&self, events: &Receiver<Event>) -> anyhow::Result<Option<Event>> {
        let due = match self.asking {
            Asking::Due(due) if !self.view.is_paused => due,
            Asking::Due(_) | Asking::UnderWay { .. } => {
                return Ok(Some(events.recv().context("every thread that waits has ended")?));
            }
        };
        match events.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => Ok(None),
            outcome => Ok(Some(outcome.context("every thread that waits has ended")?)),
        }
    }

    fn take(&mut self, event: Event) -> Wish {
        let wish = match event {
            Event::Stop => Wish::Quit,
            Event::Changed => Wish::Nothing,
            Event::Key(key) => self.view.on_key(key, &self.glance),
            Event::Looked(outcome) => self.looked(*outcome),
        };
        if wish == Wish::Ask {
            self.ask();
        }
        wish
    }

    fn looked(&mut self, outcome: anyhow::Result<Glance>) -> Wish {
        let again = matches!(self.asking, Asking::UnderWay { again: true });
        self.asking = Asking::Due(Instant::now() + self.interval);
        if self.view.is_paused {
            return Wish::Nothing;
        }
        match outcome {
            Ok(glance) => {
                self.glance = glance;
                self.trouble = None;
                self.view.settle(&self.glance);
            }
            Err(error) => self.trouble = Some(format!("{error:#}")),
        }
        if again && self.trouble.is_none() { Wish::Ask } else { Wish::Nothing }
    }

    /// Asks the daemon, now or after the question that is under way.
    fn ask(&mut self) {
        self.asking = match self.asking {
            Asking::UnderWay { .. } => Asking::UnderWay { again: true },
            Asking::Due(_) => {
                // There is no other question, so there is room for this one.
                self.ask.try_send(self.view.sessions.selected.clone()).ok();
                Asking::UnderWay { again: false }
            }
        };
    }
}

fn start(
    name: &str,
    tell: SyncSender<Event>,
    body: impl FnOnce(&SyncSender<Event>) + Send + 'static,
) -> anyhow::Result<()> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder.spawn(move || body(&tell)).with_context(|| format!("no thread for {name}"))?;
    Ok(())
}

fn wait_for_signal(signals: &SigSet, tell: &SyncSender<Event>) {
    signals.wait().ok();
    tell.send(Event::Stop).ok();
}

fn look(daemon: &Daemon, questions: &Receiver<Option<String>>, tell: &SyncSender<Event>) {
    for trend_of in questions {
        if tell.send(Event::Looked(Box::new(daemon.look(trend_of)))).is_err() {
            return;
        }
    }
}

fn read_keys(tell: &SyncSender<Event>) {
    loop {
        let event = match event::read() {
            Ok(event::Event::Key(key)) if key.kind != KeyEventKind::Release => Event::Key(key),
            Ok(event::Event::Resize(..)) => Event::Changed,
            Ok(_) => continue,
            Err(_) => Event::Stop,
        };
        let is_over = matches!(event, Event::Stop);
        if tell.send(event).is_err() || is_over {
            return;
        }
    }
}
