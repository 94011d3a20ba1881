//! What is handed over to be written elsewhere: callers put it there and go on, and a thread takes
//! it in batches. Where that cannot keep up, what comes is dropped, and counted.

mod headers;
mod lines;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) use self::headers::headers;
pub(crate) use self::lines::{Lines, Place};

/// How much may wait, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// As many may wait; what is more is dropped.
    pub(crate) waiting_max: usize,
    /// As many do not wait for more.
    pub(crate) batch: usize,
    /// Nor does one that has waited for so long. Nobody wakes a thread for each: that cost a call a
    /// quarter of its time.
    pub(crate) within: Duration,
}

/// Where it goes.
pub(crate) trait Sink<T>: Send + 'static {
    /// Takes a batch, all of it. What it cannot bring further is missing.
    fn take(&mut self, batch: &mut Vec<T>, missing: &Missing);

    /// Nothing comes any more.
    fn end(self, missing: &Missing);
}

/// What did not get there.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// Of which nothing tells yet.
    untold: AtomicU64,
    total: AtomicU64,
}

impl Missing {
    pub(crate) fn add(&self, count: u64) {
        self.untold.fetch_add(count, Ordering::Relaxed);
        self.total.fetch_add(count, Ordering::Relaxed);
    }

    /// How many nothing tells of yet. Whoever asks tells of them.
    fn untold(&self) -> u64 {
        self.untold.swap(0, Ordering::Relaxed)
    }

    /// They could not be told of.
    fn still_untold(&self, count: u64) {
        self.untold.fetch_add(count, Ordering::Relaxed);
    }
}

/// A cheap handle to hand things over.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    inner: Arc<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    pace: Pace,
    waiting: Mutex<Waiting<T>>,
    wake: Condvar,
    missing: Missing,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Waiting<T> {
    items: Vec<T>,
    is_closed: bool,
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T: Send + 'static> Outbox<T> {
    /// Lets a thread of that name take to the sink what comes.
    pub(crate) fn open(name: &str, pace: Pace, sink: impl Sink<T>) -> io::Result<Self> {
        let inner = Arc::new(Inner {
            pace,
            waiting: Mutex::new(Waiting { items: Vec::new(), is_closed: false }),
            wake: Condvar::new(),
            missing: Missing::default(),
            thread: Mutex::default(),
        });
        let theirs = Arc::clone(&inner);
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || theirs.run(sink))?;
        *inner.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(Self { inner })
    }

    /// Hands something over.
    pub(crate) fn put(&self, item: T) {
        let Inner { pace, wake, missing, .. } = &*self.inner;
        let mut waiting = self.inner.lock();
        if waiting.is_closed || pace.waiting_max <= waiting.items.len() {
            drop(waiting);
            missing.add(1);
            return;
        }
        waiting.items.push(item);
        let is_time = [1, pace.batch].contains(&waiting.items.len());
        drop(waiting);
        if is_time {
            wake.notify_one();
        }
    }

    /// How many did not get there.
    pub(crate) fn missing_total(&self) -> u64 {
        self.inner.missing.total.load(Ordering::Relaxed)
    }

    /// Takes there what waits, and nothing any more.
    pub(crate) fn close(&self) {
        self.inner.lock().is_closed = true;
        self.inner.wake.notify_one();
        let thread = self.inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            thread.join().ok();
        }
    }
}

impl<T> Inner<T> {
    fn run(&self, mut sink: impl Sink<T>) {
        let mut batch = Vec::new();
        while self.wait(&mut batch) {
            sink.take(&mut batch, &self.missing);
            batch.clear();
        }
        sink.end(&self.missing);
    }

    /// Waits for a batch; there is none once nothing comes any more.
    fn wait(&self, batch: &mut Vec<T>) -> bool {
        let Pace { batch: enough, within, .. } = self.pace;
        let is_empty = |waiting: &mut Waiting<T>| waiting.items.is_empty() && !waiting.is_closed;
        let waiting = self.wake.wait_while(self.lock(), is_empty);
        let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let is_short =
            |waiting: &mut Waiting<T>| waiting.items.len() < enough && !waiting.is_closed;
        let waited = self.wake.wait_timeout_while(waiting, within, is_short);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut waiting.items, batch);
        !batch.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Tells of each batch, and goes on when it is told to.
    struct Slow(SyncSender<Vec<u32>>, Receiver<()>);

    impl Sink<u32> for Slow {
        fn take(&mut self, batch: &mut Vec<u32>, _missing: &Missing) {
            self.0.send(std::mem::take(batch)).unwrap();
            self.1.recv().ok();
        }

        fn end(self, _missing: &Missing) {}
    }

    fn open(pace: Pace) -> (Outbox<u32>, Receiver<Vec<u32>>, SyncSender<()>) {
        let (tell, told) = sync_channel(64);
        let (go_on, goes_on) = sync_channel(64);
        (Outbox::open("slow", pace, Slow(tell, goes_on)).unwrap(), told, go_on)
    }

    const FOR_EVER: Duration = Duration::from_hours(1);

    #[test]
    fn a_batch_goes_when_it_is_full_or_has_waited_and_the_rest_at_the_end() {
        let pace = Pace { waiting_max: 100, batch: 3, within: FOR_EVER };
        let (outbox, told, go_on) = open(pace);
        for item in 0..3 {
            outbox.put(item);
        }
        assert_eq!(told.recv().unwrap(), [0, 1, 2]);
        drop(go_on);
        outbox.put(3);
        outbox.close();
        assert_eq!(told.recv().unwrap(), [3]);
        outbox.put(4);
        assert_eq!((outbox.missing_total(), told.recv().is_err()), (1, true));

        let within = Duration::from_millis(1);
        let (outbox, told, _) = open(Pace { waiting_max: 100, batch: 3, within });
        outbox.put(0);
        assert_eq!(told.recv().unwrap(), [0]);
        outbox.close();
    }

    #[test]
    fn what_is_too_much_is_dropped_and_counted_and_nobody_waits() {
        let (outbox, told, go_on) = open(Pace { waiting_max: 4, batch: 1, within: FOR_EVER });
        outbox.put(0);
        assert_eq!(told.recv().unwrap(), [0]);
        for item in 1..=10 {
            outbox.put(item);
        }
        assert_eq!(outbox.missing_total(), 6);
        drop(go_on);
        outbox.close();
        assert_eq!(told.recv().unwrap(), [1, 2, 3, 4]);
    }
}
