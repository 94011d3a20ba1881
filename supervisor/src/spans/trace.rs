//! Which trace a call is part of: that of the client, if it names one as W3C's trace context wants
//! it, or else one of its own.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Serialize, Serializer};

/// The name of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(pub u128);

/// The name of one span in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(pub u64);

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace.
    pub id: TraceId,
    /// The span that is ours.
    pub span_id: SpanId,
    /// The client's span above it, if the client has one.
    pub parent_id: Option<SpanId>,
}

impl Trace {
    /// The place below a `traceparent`. One that is none is passed over, as W3C wants it.
    pub fn below(traceparent: Option<&str>) -> Self {
        let span_id = SpanId(random());
        if let Some((id, parent_id)) = traceparent.and_then(parse) {
            return Self { id, span_id, parent_id: Some(parent_id) };
        }
        let id = TraceId((u128::from(random()) << 64) | u128::from(random()));
        Self { id, span_id, parent_id: None }
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for SpanId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Version, trace, parent and flags, in lower-case hexadecimal. Later versions may have more.
fn parse(text: &str) -> Option<(TraceId, SpanId)> {
    let mut parts = text.split('-');
    let version = hex(parts.next()?, 2)?;
    let trace_id = hex(parts.next()?, 32)?;
    let parent_id = u64::try_from(hex(parts.next()?, 16)?).ok()?;
    hex(parts.next()?, 2)?;
    let is_whole = version != 0 || parts.next().is_none();
    let is_valid = version != 0xff && is_whole && trace_id != 0 && parent_id != 0;
    is_valid.then_some((TraceId(trace_id), SpanId(parent_id)))
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_right = text.len() == digits && text.bytes().all(is_hex);
    is_right.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// Names need not be hard to guess, only nobody else's: numbers in a row, scattered by a key that
/// only this process has. It takes no system call. Zero would be no name.
fn random() -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    KEY.hash_one(NEXT.fetch_add(1, Ordering::Relaxed)).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_traceparent_names_the_trace_and_the_span_above() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let Trace { id, parent_id, .. } = Trace::below(Some(text));
        assert_eq!(id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent_id.unwrap().to_string(), "00f067aa0ba902b7");
        assert!(parse(&text.replacen("00", "01", 1)).is_some());
        assert!(parse(&format!("{}-more", text.replacen("00", "01", 1))).is_some());
    }

    #[test]
    fn what_is_no_traceparent_is_passed_over() {
        let zero = "0".repeat(32);
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            &format!("00-{zero}-00f067aa0ba902b7-01"),
        ] {
            assert_eq!(parse(text), None, "{text}");
            assert_eq!(Trace::below(Some(text)).parent_id, None);
        }
    }

    #[test]
    fn names_of_our_own_are_all_different() {
        let traces: Vec<Trace> = (0..10_000).map(|_| Trace::below(None)).collect();
        let ids: HashSet<TraceId> = traces.iter().map(|trace| trace.id).collect();
        let span_ids: HashSet<SpanId> = traces.iter().map(|trace| trace.span_id).collect();
        assert_eq!((ids.len(), span_ids.len()), (10_000, 10_000));
    }

    proptest! {
        #[test]
        fn whatever_a_client_says_is_read_or_passed_over(text in ".{0,80}") {
            Trace::below(Some(&text));
        }

        #[test]
        fn what_we_write_is_read_again(trace in 1_u128.., parent in 1_u64..) {
            let (trace, parent) = (TraceId(trace), SpanId(parent));
            prop_assert_eq!(parse(&format!("00-{trace}-{parent}-00")), Some((trace, parent)));
        }
    }
}
