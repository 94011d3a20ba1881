//! Waiting, giving up and being let through.

use std::pin::pin;
use std::task::{Context, Waker};

use futures::future::join_all;

use super::*;

fn turns(concurrent_max: usize, waiting_max: usize, waiting_per_tenant_max: usize) -> Turns {
    let patience = Duration::from_secs(10);
    let bounds = Bounds { concurrent_max, waiting_max, waiting_per_tenant_max, patience };
    let names = Names {
        what: "starts",
        waiting_max: "pool.spawn_queue_max",
        waiting_per_tenant_max: "pool.spawn_queue_per_tenant_max",
        patience: "pool.spawn_wait_secs",
    };
    Turns::new(bounds, names)
}

fn named(name: &str) -> Tenant {
    Tenant::named(name)
}

fn poll_once(future: std::pin::Pin<&mut impl Future>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[tokio::test(start_paused = true)]
async fn the_wait_ends_when_patience_does() {
    let turns = turns(1, 8, 8);
    let turn = turns.enter(&named("a")).await.unwrap();
    let start = tokio::time::Instant::now();
    let error = turns.enter(&named("b")).await.unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(error.to_string(), "too many starts: no turn within 10 s (pool.spawn_wait_secs)");
    assert_eq!((error.code(), error.retry_after()), ("busy", Some(Duration::from_secs(1))));
    assert_eq!(turns.counts(), Counts { running: 1, waiting: 0 });
    drop(turn);
    drop(turns.enter(&named("b")).await.unwrap());
    assert_eq!(turns.counts(), Counts::default());
}

#[tokio::test(start_paused = true)]
async fn each_bound_is_named() {
    let turns = turns(1, 2, 1);
    let _turn = turns.enter(&named("a")).await.unwrap();
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let mut first = pin!(turns.enter(&a));
    let mut other = pin!(turns.enter(&b));
    assert!(!poll_once(first.as_mut()) && !poll_once(other.as_mut()));
    let own = turns.enter(&a).await.unwrap_err();
    let text = "1 starts of this tenant are waiting already (pool.spawn_queue_per_tenant_max)";
    assert_eq!(own.to_string(), text);
    let all = turns.enter(&c).await.unwrap_err();
    assert_eq!(all.to_string(), "2 starts are waiting already (pool.spawn_queue_max)");
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_the_queue() {
    let turns = turns(1, 8, 8);
    let turn = turns.enter(&named("a")).await.unwrap();
    let (b, c) = (named("b"), named("c"));
    {
        let mut given_up = pin!(turns.enter(&b));
        assert!(!poll_once(given_up.as_mut()));
        assert_eq!(turns.counts().waiting, 1);
    }
    assert_eq!(turns.counts().waiting, 0);
    let mut next = pin!(turns.enter(&c));
    assert!(!poll_once(next.as_mut()));
    drop(turn);
    assert!(poll_once(next.as_mut()));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_comes_while_one_gives_up_goes_to_the_next() {
    let turns = turns(1, 8, 8);
    let turn = turns.enter(&named("a")).await.unwrap();
    let (b, c) = (named("b"), named("c"));
    let mut next = pin!(turns.enter(&c));
    {
        let mut given_up = pin!(turns.enter(&b));
        assert!(!poll_once(given_up.as_mut()) && !poll_once(next.as_mut()));
        // Granted, and never received.
        drop(turn);
        assert_eq!(turns.counts(), Counts { running: 1, waiting: 1 });
        assert!(!poll_once(next.as_mut()));
    }
    assert_eq!(turns.counts(), Counts { running: 1, waiting: 0 });
    assert!(poll_once(next.as_mut()));
}

/// Many at once on several threads, of whom some give up: in the end nothing is held or lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_forgotten_in_a_crowd() {
    let turns = turns(3, 10_000, 10_000);
    let running = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let client = |number: u64| {
        let (turns, running) = (turns.clone(), Arc::clone(&running));
        tokio::spawn(async move {
            let tenant = named(&format!("{}", number % 7));
            let patience = Duration::from_micros(number * 37 % 3000);
            let gives_up = number.is_multiple_of(3);
            let turn = if gives_up {
                tokio::time::timeout(patience, turns.enter(&tenant)).await.ok()
            } else {
                Some(turns.enter(&tenant).await)
            };
            let Some(turn) = turn else { return false };
            let turn = turn.unwrap();
            let count = running.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
            assert!(count <= 3);
            tokio::task::yield_now().await;
            running.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            drop(turn);
            !gives_up
        })
    };
    let all = join_all((0..3000).map(client));
    let all = tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
    let served = all.into_iter().filter(|it| *it.as_ref().unwrap()).count();
    assert_eq!(served, 2000);
    assert_eq!(turns.counts(), Counts::default());
}
