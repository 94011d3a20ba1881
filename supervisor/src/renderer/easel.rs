//! The one task that owns a session's renderer: starts it, hands it the model and one state after
//! the other, and lets it go.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use simward_protocol::handshake::{Hello, VERSION};
use simward_protocol::render::{Draw, Drawn, FromRenderer, ToRenderer};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Error, Picture, Renderer, Scene, picture};
use crate::pool::Pool;
use crate::pool::guard::Guard;
use crate::pool::launcher::Launched;
use crate::pool::layers::Role;
use crate::pool::process::Process;
use crate::pool::turns::Turn;
use crate::store::Key;
use crate::worker::{Link, is_of_memory};

/// How many pictures of one session may wait.
pub(super) const ORDERS_MAX: usize = 8;

/// A picture that is wanted.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) scene: Scene,
    pub(super) draw: Draw,
    pub(super) progress: Option<watch::Sender<(u64, u64)>>,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// What becomes of an order.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) outcome: Result<Picture, Error>,
    /// Since when a process had it, if one had.
    pub(super) asked: Option<Instant>,
}

/// A handle to a session's easel. Dropped, it ends the task and the process.
#[derive(Debug)]
pub(super) struct Easel {
    pub(super) orders: mpsc::Sender<Order>,
    leisure: Arc<Leisure>,
    _end: DropGuard,
}

/// When there was last something to do, and whether the process is wanted elsewhere.
#[derive(Debug, Default)]
struct Leisure {
    /// Nothing while a picture is drawn, or while there is no process.
    since: Mutex<Option<Instant>>,
    leave: Notify,
}

impl Leisure {
    fn set(&self, since: Option<Instant>) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

impl Easel {
    pub(super) fn start(renderer: Renderer, session_id: Arc<str>) -> Self {
        let (orders, waiting) = mpsc::channel(ORDERS_MAX);
        let (leisure, end) = (Arc::new(Leisure::default()), CancellationToken::new());
        let painter = Painter {
            renderer,
            session_id,
            orders: waiting,
            leisure: Arc::clone(&leisure),
            end: end.clone(),
            process: None,
        };
        tokio::spawn(painter.paint());
        Self { orders, leisure, _end: end.drop_guard() }
    }

    /// Since when it has a process and nothing to draw.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        *self.leisure.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets its process go, for another one.
    pub(super) fn make_leave(&self) {
        // Whoever asks next asks another one.
        self.leisure.set(None);
        self.leisure.leave.notify_one();
    }
}

struct Painter {
    renderer: Renderer,
    session_id: Arc<str>,
    orders: mpsc::Receiver<Order>,
    leisure: Arc<Leisure>,
    end: CancellationToken,
    process: Option<Open>,
}

/// A process that has taken up a model. Dropped, it is killed.
struct Open {
    key: Key,
    process: Process,
    link: Link,
    /// After the process.
    _guard: Guard,
    _turn: Turn,
}

/// What happens to a painter.
enum Event {
    Order(Box<Order>),
    /// Its process has ended by itself.
    Ended,
    /// Nobody wants pictures, or others want them more.
    Leave,
    /// The session is gone.
    End,
}

impl Painter {
    async fn paint(mut self) {
        loop {
            match self.next().await {
                Event::Order(order) => self.serve(*order).await,
                Event::Ended => {
                    tracing::warn!(session_id = %self.session_id, "an idle renderer has ended");
                    self.process = None;
                }
                Event::Leave if self.retire() => return,
                Event::Leave => self.process = None,
                Event::End => return,
            }
        }
    }

    async fn next(&mut self) -> Event {
        let patience = Duration::from_secs_f64(self.renderer.inner.config.idle_timeout_secs);
        let process = &mut self.process;
        let ended = async {
            match process {
                Some(open) => drop(open.process.ended().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.end.cancelled() => Event::End,
            order = self.orders.recv() => order.map_or(Event::End, |order| Event::Order(order.into())),
            () = ended => Event::Ended,
            () = self.leisure.leave.notified() => Event::Leave,
            () = tokio::time::sleep(patience) => Event::Leave,
        }
    }

    /// Goes, unless somebody has just ordered something.
    fn retire(&self) -> bool {
        let mut easels = self.renderer.lock();
        if !self.orders.is_empty() || self.end.is_cancelled() {
            return self.end.is_cancelled();
        }
        easels.remove(&self.session_id);
        true
    }

    /// Draws one picture, unless nobody waits for it any more.
    async fn serve(&mut self, order: Order) {
        let Order { scene, draw, progress, mut answer } = order;
        self.leisure.set(None);
        let end = self.end.clone();
        let mut asked = None;
        // A process that was interrupted is dropped with the work, and so is killed.
        let outcome = tokio::select! {
            biased;
            () = end.cancelled() => return,
            () = answer.closed() => return,
            outcome = self.work(&scene, &draw, progress.as_ref(), &mut asked) => outcome,
        };
        if let Err(error) = &outcome {
            let error = crate::code::chain(error);
            tracing::debug!(session_id = %self.session_id, error, "a picture was not drawn");
        }
        answer.send(Answer { outcome, asked }).ok();
        if self.renderer.inner.turns.counts().waiting != 0 {
            self.process = None;
        }
        self.leisure.set(self.process.is_some().then(Instant::now));
    }

    async fn work(
        &mut self,
        scene: &Scene,
        draw: &Draw,
        progress: Option<&watch::Sender<(u64, u64)>>,
        asked: &mut Option<Instant>,
    ) -> Result<Picture, Error> {
        let after = Duration::from_secs_f64(self.renderer.inner.config.timeout_secs);
        let kept = self.process.take().filter(|open| open.key == scene.model.key);
        let mut open = match kept {
            Some(open) => open,
            None => self.open(scene, after).await?,
        };
        let file = picture::empty().map_err(Error::Start)?;
        *asked = Some(Instant::now());
        let drawing = open.draw(draw, [Arc::clone(&scene.state), Arc::clone(&file)], progress);
        let drawn = match tokio::time::timeout(after, drawing).await {
            Err(_elapsed) => return Err(Error::Timeout { after }),
            Ok(Err(talk)) => return Err(open.explain(talk, self.memory_bytes()).await),
            Ok(Ok(drawn)) => drawn,
        };
        let drawn = match drawn {
            Ok(drawn) => drawn,
            Err(fault) => {
                // It has said no, and can do what it is asked next.
                self.process = Some(open);
                return Err(fault.into());
            }
        };
        let draw = draw.clone();
        let read = tokio::task::spawn_blocking(move || picture::read(&file, &draw, drawn));
        let picture = read.await.unwrap_or(Err(Error::BrokeProtocol))?;
        self.process = Some(open);
        Ok(picture)
    }

    /// Starts a process and hands it the model.
    async fn open(&self, scene: &Scene, after: Duration) -> Result<Open, Error> {
        let inner = &self.renderer.inner;
        let launch = self.renderer.launch("render")?;
        self.renderer.make_room();
        let turn = inner.turns.enter(&scene.tenant).await?;
        let starting = inner.pool.gate().enter(&scene.tenant).await?;
        let launched = inner.pool.launcher().launch(launch).await.map_err(Error::Start)?;
        drop(starting);
        let Launched { process, socket, guard } = launched;
        let link = Link::new(socket).map_err(Error::Start)?;
        let model = Arc::clone(&scene.model);
        let file = tokio::task::spawn_blocking(move || model.file());
        let file = file.await.map_err(|_panic| Error::BrokeProtocol)??;
        let (key, bytes) = (scene.model.key.clone(), scene.model.about.bytes);
        let mut open = Open { key, process, link, _guard: guard, _turn: turn };
        match tokio::time::timeout(after, open.take_up(file, bytes, &inner.pool)).await {
            Err(_elapsed) => Err(Error::Timeout { after }),
            Ok(Err(talk)) => Err(open.explain(talk, self.memory_bytes()).await),
            Ok(Ok(Err(refused))) => Err(refused),
            Ok(Ok(Ok(()))) => Ok(open),
        }
    }

    fn memory_bytes(&self) -> u64 {
        self.renderer.inner.config.memory_bytes
    }
}

/// Why there is no answer.
enum Talk {
    HungUp,
    Nonsense,
    LastWords(String),
}

impl From<std::io::Error> for Talk {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::InvalidData => Self::Nonsense,
            _ => Self::HungUp,
        }
    }
}

/// How long a renderer that has closed its socket may take to be gone.
const EXIT_WITHIN: Duration = Duration::from_secs(1);

type Faulty<T> = Result<T, simward_protocol::fault::Fault>;

impl Open {
    async fn take_up(
        &mut self,
        file: Arc<OwnedFd>,
        bytes: u64,
        pool: &Pool,
    ) -> Result<Result<(), Error>, Talk> {
        let hello: Hello = next(&mut self.link).await?;
        if hello.version != VERSION {
            return Err(Talk::Nonsense);
        }
        let missing = pool.lacking(Role::Render, &hello.layers);
        if !missing.is_empty() {
            return Ok(Err(Error::Weak { missing }));
        }
        self.link.send(&ToRenderer::Open { bytes }, vec![file])?;
        match next(&mut self.link).await? {
            FromRenderer::Opened(opened) => Ok(opened.map_err(Error::Fault)),
            FromRenderer::LastWords { text } => Err(Talk::LastWords(text)),
            _ => Err(Talk::Nonsense),
        }
    }

    async fn draw(
        &mut self,
        draw: &Draw,
        files: [Arc<OwnedFd>; 2],
        progress: Option<&watch::Sender<(u64, u64)>>,
    ) -> Result<Faulty<Drawn>, Talk> {
        self.link.send(&ToRenderer::Draw(draw.clone()), files.into())?;
        loop {
            match next(&mut self.link).await? {
                FromRenderer::Drawn(drawn) => return Ok(drawn),
                FromRenderer::Progress { done, total } => {
                    if let Some(progress) = progress {
                        progress.send_replace((done, total));
                    }
                }
                FromRenderer::LastWords { text } => return Err(Talk::LastWords(text)),
                FromRenderer::Opened(_) => return Err(Talk::Nonsense),
            }
        }
    }

    /// What became of a renderer that gave no answer.
    async fn explain(&mut self, talk: Talk, limit: u64) -> Error {
        let said = match talk {
            Talk::Nonsense => return Error::BrokeProtocol,
            Talk::LastWords(text) => Some(text),
            Talk::HungUp => None,
        };
        let Ok(exit) = tokio::time::timeout(EXIT_WITHIN, self.process.ended()).await else {
            return Error::BrokeProtocol;
        };
        let written = self.process.last_output().await;
        let last_words = said.unwrap_or(written);
        if is_of_memory(&last_words) {
            return Error::Memory { limit };
        }
        Error::Crashed { exit, last_words }
    }
}

async fn next<T: serde::de::DeserializeOwned>(link: &mut Link) -> std::io::Result<T> {
    loop {
        link.flush()?;
        if let Some(frame) = link.receive()? {
            return Ok(frame);
        }
        link.ready().await?;
    }
}
