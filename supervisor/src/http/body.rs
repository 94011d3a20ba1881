//! A request's body, before anybody parses it.
//!
//! JSON can be small on the wire and large in memory: seven million `{}` take 15 MB there and 15 GB
//! here. What makes it large is the number of its values, so these are counted first; a model with
//! its meshes is a few long strings.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most values in one request.
const VALUES_MAX: usize = 2_000_000;

/// How many of the longest requests may be in memory at a time.
const LONGEST_AT_A_TIME: usize = 4;

/// How long a request may take to arrive.
const ARRIVE_WITHIN: Duration = Duration::from_mins(1);

/// What is left of the memory for requests.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    kib: Arc<Semaphore>,
    bytes_max: usize,
}

/// Why a body is not taken.
pub(super) type Refused = (StatusCode, &'static str);

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        let kib = (bytes_max / 1024 + 1) * LONGEST_AT_A_TIME;
        let kib = Arc::new(Semaphore::new(kib.min(Semaphore::MAX_PERMITS)));
        Self { kib, bytes_max }
    }

    /// Takes a body whole. The permit stands for its memory.
    pub(super) async fn take(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Bytes, OwnedSemaphorePermit), Refused> {
        // One that does not say how long it is may be as long as any.
        let length = announced(headers).unwrap_or(self.bytes_max);
        if self.bytes_max < length {
            return Err((StatusCode::PAYLOAD_TOO_LARGE, "the request exceeds http.body_bytes_max"));
        }
        let kib = u32::try_from(length / 1024 + 1).unwrap_or(u32::MAX);
        let mut permit =
            Arc::clone(&self.kib).try_acquire_many_owned(kib).map_err(|_none_left| {
                (StatusCode::SERVICE_UNAVAILABLE, "too many long requests at a time")
            })?;
        let collect = Limited::new(body, self.bytes_max).collect();
        let collected = tokio::time::timeout(ARRIVE_WITHIN, collect).await.map_err(|_late| {
            (StatusCode::REQUEST_TIMEOUT, "the request did not arrive within a minute")
        })?;
        let bytes = collected.map_err(|error| {
            if error.is::<LengthLimitError>() {
                (StatusCode::PAYLOAD_TOO_LARGE, "the request exceeds http.body_bytes_max")
            } else {
                (StatusCode::BAD_REQUEST, "the request could not be read")
            }
        })?;
        let bytes = bytes.to_bytes();
        if VALUES_MAX < values(&bytes) {
            return Err((
                StatusCode::PAYLOAD_TOO_LARGE,
                "the request holds more than 2000000 values",
            ));
        }
        // What it did not need after all.
        let spare = kib.saturating_sub(u32::try_from(bytes.len() / 1024 + 1).unwrap_or(u32::MAX));
        drop(permit.split(spare as usize));
        Ok((bytes, permit))
    }
}

/// How long a request says that its body is.
pub(super) fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// How many values a JSON text can hold at most: one more than separators and brackets outside of
/// strings.
fn values(json: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' | b':' if !in_string => count += 1,
            _ => (),
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_and_the_text_of_strings_is_not() {
        assert_eq!(values(br#"{"a": [1, 2, 3]}"#), 5);
        assert_eq!(values(br#""a, [ { : \" , ""#), 0);
        assert_eq!(values(br#"{"path\\": "x,y"}"#), 2);
    }

    #[tokio::test]
    async fn memory_for_requests_runs_out_with_a_refusal() {
        let budget = Budget::new(1024 * 1024);
        let long = || Body::from(" ".repeat(1024 * 1024));
        let mut held = Vec::new();
        for _ in 0..4 {
            // One that does not say how long it is takes what it needs in the end.
            drop(budget.take(&HeaderMap::new(), Body::from("{}")).await.unwrap());
            held.push(budget.take(&HeaderMap::new(), long()).await.unwrap());
        }
        let refused = budget.take(&HeaderMap::new(), long()).await.unwrap_err();
        assert_eq!(refused.0, StatusCode::SERVICE_UNAVAILABLE);
        held.pop();
        drop(budget.take(&HeaderMap::new(), long()).await.unwrap());
    }
}
