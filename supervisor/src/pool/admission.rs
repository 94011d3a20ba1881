//! How many processes may start at a time, and how many may wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::code::Code;

/// Lets a bounded number of starts through at a time.
#[derive(Debug)]
pub struct SpawnGate {
    starting: Arc<Semaphore>,
    concurrent_max: usize,
    waiting: AtomicUsize,
    waiting_max: usize,
    patience: Duration,
}

/// No start now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too many wait already.
    #[error("{max} starts are waiting already (pool.spawn_queue_max)")]
    QueueFull {
        /// The limit.
        max: usize,
    },
    /// The wait was too long.
    #[error("no start was possible within {} s (pool.spawn_wait_secs)", .patience.as_secs_f64())]
    TooLong {
        /// The limit.
        patience: Duration,
    },
}

impl Code for Error {
    fn code(&self) -> &'static str {
        "busy"
    }

    fn retry_after(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }
}

impl SpawnGate {
    pub(super) fn new(concurrent_max: usize, waiting_max: usize, patience: Duration) -> Self {
        // Zero would let nobody through, ever.
        let concurrent_max = concurrent_max.max(1);
        let starting = Arc::new(Semaphore::new(concurrent_max));
        Self { starting, concurrent_max, waiting: AtomicUsize::new(0), waiting_max, patience }
    }

    /// Waits for a turn, which lasts until the permit is dropped.
    pub async fn enter(&self) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(permit) = Arc::clone(&self.starting).try_acquire_owned() {
            return Ok(permit);
        }
        let _waiting = Waiting::enter(&self.waiting, self.waiting_max)?;
        let turn = Arc::clone(&self.starting).acquire_owned();
        match tokio::time::timeout(self.patience, turn).await {
            // The semaphore is never closed.
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Error::TooLong { patience: self.patience }),
        }
    }

    /// How many are starting, and how many wait.
    pub fn counts(&self) -> (usize, usize) {
        let starting = self.concurrent_max - self.starting.available_permits();
        (starting, self.waiting.load(Ordering::Relaxed))
    }
}

/// Counts one who waits, also when the wait is given up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(waiting: &'a AtomicUsize, max: usize) -> Result<Self, Error> {
        let count = waiting.fetch_add(1, Ordering::Relaxed);
        let entered = Self(waiting);
        if count < max { Ok(entered) } else { Err(Error::QueueFull { max }) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_queue_is_bounded_and_so_is_the_wait() {
        let gate = SpawnGate::new(1, 1, Duration::from_millis(20));
        let turn = gate.enter().await.unwrap();
        let (second, third) = tokio::join!(gate.enter(), gate.enter());
        assert!(matches!(second, Err(Error::TooLong { .. })));
        assert!(matches!(third, Err(Error::QueueFull { max: 1 })));
        assert_eq!(gate.counts(), (1, 0));
        drop(turn);
        drop(gate.enter().await.unwrap());
    }
}
