//! Work that is done whole, although whoever asked for it may give up halfway.

use tokio::sync::oneshot;

/// Does work on a task of its own. If nobody waits for the result any more when it is there, it is
/// undone: whoever gave up was told that nothing was done. Gives nothing if the work panicked.
pub(crate) async fn or_undone<T, E, U>(
    work: impl Future<Output = Result<T, E>> + Send + 'static,
    undo: impl FnOnce(T) -> U + Send + 'static,
) -> Option<Result<T, E>>
where
    T: Send + 'static,
    E: Send + 'static,
    U: Future<Output = ()> + Send,
{
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        if let Err(Ok(unwanted)) = tell.send(work.await) {
            undo(unwanted).await;
        }
    });
    told.await.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn what_is_waited_for_is_kept() {
        let kept = or_undone(async { Ok::<_, ()>(7) }, |_| async { panic!("undone") }).await;
        assert_eq!(kept, Some(Ok(7)));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_undone() {
        let (go, undone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (gone, told) = (Arc::clone(&go), Arc::clone(&undone));
        let work = async move {
            gone.notified().await;
            Ok::<_, ()>(3)
        };
        let undo = move |value| async move {
            assert_eq!(value, 3);
            told.notify_one();
        };
        let mut waiting = Box::pin(or_undone(work, undo));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("it has nothing to show yet"),
            () = tokio::task::yield_now() => (),
        }
        drop(waiting);
        go.notify_one();
        undone.notified().await;
    }
}
