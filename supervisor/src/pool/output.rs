//! What a process writes to its standard error: the end of it is kept, for its last words.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

/// How much is kept.
const TAIL_BYTES: usize = 4 * 1024;

/// How much is read in all. A process that writes more waits for a reader that never comes, and
/// costs nobody anything.
const TOTAL_BYTES_MAX: usize = 1024 * 1024;

/// How long the end of the output may lag behind the end of the process. A grandchild may hold the
/// pipe open for ever.
const LAG: Duration = Duration::from_millis(50);

/// The output of one process.
#[derive(Debug)]
pub(super) struct Output {
    reading: JoinHandle<()>,
    tail: std::sync::Arc<std::sync::Mutex<VecDeque<u8>>>,
}

impl Output {
    pub(super) fn collect(from: io::PipeReader) -> io::Result<Self> {
        let mut from = pipe::Receiver::from_owned_fd(OwnedFd::from(from))?;
        let tail = std::sync::Arc::default();
        let kept: std::sync::Arc<std::sync::Mutex<VecDeque<u8>>> = std::sync::Arc::clone(&tail);
        let reading = tokio::spawn(async move {
            let mut total = 0;
            let mut chunk = [0; 1024];
            while let Ok(count @ 1..) = from.read(&mut chunk).await {
                {
                    let mut kept = kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    kept.extend(&chunk[..count]);
                    let excess = kept.len().saturating_sub(TAIL_BYTES);
                    kept.drain(..excess);
                }
                total += count;
                if TOTAL_BYTES_MAX < total {
                    tracing::warn!(bytes = total, "a process floods its standard error");
                    // Holds the pipe without reading it, until the process's handle is dropped.
                    std::future::pending::<()>().await;
                }
            }
        });
        Ok(Self { reading, tail })
    }

    /// The end of it, once the process has ended.
    pub(super) async fn tail(&mut self) -> String {
        tokio::time::timeout(LAG, &mut self.reading).await.ok();
        let mut tail = self.tail.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        String::from_utf8_lossy(tail.make_contiguous()).trim().to_owned()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
