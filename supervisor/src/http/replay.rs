//! What was told in conversations of the older protocol, for clients that come back for it.
//!
//! rmcp forgets the stream of a call with its result: who was away just then would have lost it. So
//! the last messages are kept here for a while, within a bound that all conversations share. Whoever
//! keeps most gives way first.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::stream;
use rmcp::model::ServerJsonRpcMessage;
use rmcp::transport::streamable_http_server::session::ServerSseMessage;
use rmcp::transport::streamable_http_server::session::store::{
    EventStore, EventStoreError, EventStream,
};
use tokio::sync::watch;

/// How long what was told is kept.
const KEEP: Duration = Duration::from_mins(5);

/// Streams of a conversation that are kept after their end.
const STREAMS_MAX: usize = 64;

/// Streams of a conversation in all: one whose call was cancelled never hears an answer.
const STREAMS_IN_ALL_MAX: usize = 512;

/// What a message takes beside its text, in bytes.
const MESSAGE_BYTES: usize = 256;

/// The last messages of all conversations. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Replay {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug)]
struct Kept {
    conversations: BTreeMap<u64, Conversation>,
    /// How many there have been.
    begun: u64,
    bytes: usize,
    bytes_max: usize,
}

/// The last messages of a conversation, until it is dropped.
#[derive(Debug)]
pub(super) struct OfConversation {
    replay: Replay,
    number: u64,
}

#[derive(Debug, Default)]
struct Conversation {
    /// In the order of their beginnings.
    streams: VecDeque<Told>,
    bytes: usize,
}

/// What was told in a stream.
#[derive(Debug)]
struct Told {
    name: Box<str>,
    /// How many messages were told before those that are kept.
    before: u64,
    messages: VecDeque<Message>,
    /// Whether the answer was told, which is the last message.
    is_over: bool,
    /// Tells those who listen that there is more.
    more: watch::Sender<()>,
}

#[derive(Debug)]
struct Message {
    event: ServerSseMessage,
    bytes: usize,
    at: Instant,
}

/// A place in a stream: what clients send back to us.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    number: u64,
    stream: Box<str>,
}

/// The next thing to tell somebody who came back.
enum Next {
    Event(ServerSseMessage),
    Wait(watch::Receiver<()>),
    End,
}

impl Replay {
    /// Keeps so many bytes at most.
    pub(super) fn new(bytes_max: usize) -> Self {
        let kept = Kept { conversations: BTreeMap::new(), begun: 0, bytes: 0, bytes_max };
        Self { kept: Arc::new(Mutex::new(kept)) }
    }

    /// A conversation begins: what is told in it is kept from now on.
    pub(super) fn begin(&self) -> OfConversation {
        let mut kept = self.lock();
        kept.begun += 1;
        let number = kept.begun;
        kept.conversations.insert(number, Conversation::default());
        OfConversation { replay: self.clone(), number }
    }

    /// Forgets what is too old.
    pub(super) fn forget_old(&self) {
        let Some(since) = Instant::now().checked_sub(KEEP) else { return };
        let mut kept = self.lock();
        for conversation in kept.conversations.values_mut() {
            conversation.forget_before(since);
        }
        kept.bytes = kept.conversations.values().map(|it| it.bytes).sum();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OfConversation {
    fn keep(&self, stream: &str, event: &ServerSseMessage) -> String {
        let (is_answer, bytes) = event.message.as_deref().map_or((false, 0), measure);
        let bytes = bytes + MESSAGE_BYTES;
        let message = Message { event: event.clone(), bytes, at: Instant::now() };
        let mut kept = self.replay.lock();
        let Kept { conversations, bytes, .. } = &mut *kept;
        let number = conversations.get_mut(&self.number).map_or(0, |conversation| {
            let before = conversation.bytes;
            let number = conversation.tell(stream, message, is_answer);
            *bytes = *bytes + conversation.bytes - before;
            number
        });
        kept.keep_within();
        drop(kept);
        Place { number, stream: stream.into() }.write()
    }
}

impl Drop for OfConversation {
    fn drop(&mut self) {
        let mut kept = self.replay.lock();
        if let Some(conversation) = kept.conversations.remove(&self.number) {
            kept.bytes -= conversation.bytes;
        }
    }
}

/// Somebody who came back to a stream of a conversation.
struct Listener {
    replay: Replay,
    conversation: u64,
    /// What is told next.
    place: Place,
}

impl Listener {
    async fn hear(mut self) -> Option<(ServerSseMessage, Self)> {
        loop {
            match self.next() {
                Next::Event(event) => return Some((event, self)),
                // An error says that the conversation is over, which the next look finds.
                Next::Wait(mut more) => drop(more.changed().await),
                Next::End => return None,
            }
        }
    }

    fn next(&mut self) -> Next {
        let kept = self.replay.lock();
        let told = kept.conversations.get(&self.conversation).and_then(|conversation| {
            conversation.streams.iter().find(|told| told.name == self.place.stream)
        });
        let Some(told) = told else { return Next::End };
        // What had to go is left out.
        let number = self.place.number.max(told.before);
        let at = usize::try_from(number - told.before).ok();
        match at.and_then(|at| told.messages.get(at)) {
            Some(message) => {
                let mut event = message.event.clone();
                self.place.number = number;
                event.event_id = Some(self.place.write());
                self.place.number += 1;
                Next::Event(event)
            }
            None if told.is_over => Next::End,
            None => Next::Wait(told.more.subscribe()),
        }
    }
}

#[async_trait]
impl EventStore for OfConversation {
    async fn store_event(
        &self,
        stream_id: &str,
        event: &ServerSseMessage,
    ) -> Result<String, EventStoreError> {
        Ok(self.keep(stream_id, event))
    }

    /// What was told after an event, and what will be until the answer. What was never told in this
    /// conversation is an empty stream.
    async fn replay_events_after(&self, last: &str) -> Result<EventStream, EventStoreError> {
        let mut place = Place::read(last).ok_or("no such event")?;
        place.number = place.number.saturating_add(1);
        let listener = Listener { replay: self.replay.clone(), conversation: self.number, place };
        Ok(Box::pin(stream::unfold(listener, Listener::hear)))
    }
}

impl Kept {
    /// Forgets the oldest of whoever has most, until all have room.
    fn keep_within(&mut self) {
        while self.bytes_max < self.bytes
            && let Some(richest) = self.conversations.values_mut().max_by_key(|it| it.bytes)
        {
            let before = richest.bytes;
            richest.forget_oldest();
            self.bytes -= before - richest.bytes;
        }
    }
}

impl Conversation {
    /// Keeps a message; tells of its place.
    fn tell(&mut self, stream: &str, message: Message, is_answer: bool) -> u64 {
        let is_it = |told: &Told| &*told.name == stream;
        if !self.streams.iter().any(is_it) {
            self.forget_streams();
            self.streams.push_back(Told::new(stream));
        }
        let Some(told) = self.streams.iter_mut().rfind(|told| is_it(told)) else { return 0 };
        let number = told.before + told.messages.len() as u64;
        self.bytes += message.bytes;
        told.messages.push_back(message);
        told.is_over = is_answer;
        told.more.send_replace(());
        number
    }

    /// Makes room for another stream.
    fn forget_streams(&mut self) {
        while STREAMS_MAX <= self.streams.iter().filter(|told| told.is_over).count()
            || STREAMS_IN_ALL_MAX <= self.streams.len()
        {
            let oldest = self.streams.iter().position(|told| told.is_over).unwrap_or(0);
            let Some(told) = self.streams.remove(oldest) else { return };
            self.bytes -= told.messages.iter().map(|message| message.bytes).sum::<usize>();
        }
    }

    /// Forgets the oldest message of the oldest stream that has one.
    fn forget_oldest(&mut self) {
        if let Some(told) = self.streams.iter_mut().find(|told| !told.messages.is_empty()) {
            self.bytes -= told.forget_oldest();
        }
        self.streams.retain(Told::is_of_use);
    }

    /// Forgets what was told before.
    fn forget_before(&mut self, since: Instant) {
        for told in &mut self.streams {
            while told.messages.front().is_some_and(|oldest| oldest.at < since) {
                self.bytes -= told.forget_oldest();
            }
        }
        self.streams.retain(Told::is_of_use);
    }
}

impl Told {
    fn new(name: &str) -> Self {
        let more = watch::Sender::new(());
        let messages = VecDeque::new();
        Self { name: name.into(), before: 0, messages, is_over: false, more }
    }

    fn forget_oldest(&mut self) -> usize {
        self.messages.pop_front().map_or(0, |message| {
            self.before += 1;
            message.bytes
        })
    }

    /// Whether anything of it is there or will be.
    fn is_of_use(&self) -> bool {
        !self.is_over || !self.messages.is_empty()
    }
}

impl Place {
    fn read(event_id: &str) -> Option<Self> {
        let (number, stream) = event_id.split_once('/')?;
        Some(Self { number: number.parse().ok()?, stream: stream.into() })
    }

    fn write(&self) -> String {
        format!("{}/{}", self.number, self.stream)
    }
}

/// Whether a message ends its stream, and how long its text is.
fn measure(message: &ServerJsonRpcMessage) -> (bool, usize) {
    struct Count(usize);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting does not fail, and a message that cannot be written is not sent either.
    serde_json::to_writer(&mut count, message).ok();
    let is_answer =
        matches!(message, ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_));
    (is_answer, count.0)
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _};
    use rmcp::model::ErrorData;

    use super::*;

    fn event(text: &str) -> ServerSseMessage {
        let error = ErrorData::internal_error(text.to_owned(), None);
        ServerSseMessage::from_message(ServerJsonRpcMessage::error(error, None))
    }

    fn priming() -> ServerSseMessage {
        ServerSseMessage::retry(Duration::from_secs(1))
    }

    fn replayed(replay: &OfConversation, last: &str) -> EventStream {
        replay.replay_events_after(last).now_or_never().unwrap().unwrap()
    }

    fn texts(events: &[ServerSseMessage]) -> Vec<String> {
        let text = |event: &ServerSseMessage| serde_json::to_string(&event.message).unwrap();
        events.iter().map(text).collect()
    }

    #[tokio::test]
    async fn whoever_comes_back_hears_what_he_missed_and_the_answer_that_comes_later() {
        let replay = Replay::new(1 << 20).begin();
        let first = replay.keep("a:1", &priming());
        let listening = tokio::spawn(replayed(&replay, &first).collect::<Vec<_>>());
        tokio::task::yield_now().await;
        assert!(!listening.is_finished());
        let answer = replay.keep("a:1", &event("done"));
        // Another call of the conversation is another stream.
        replay.keep("a:2", &event("other"));
        let heard = listening.await.unwrap();
        assert_eq!(heard.len(), 1);
        assert!(texts(&heard)[0].contains("done"));
        assert_eq!(heard[0].event_id.as_deref(), Some(&*answer));
        // So does one who comes when all is over, and who has heard all hears nothing more.
        assert_eq!(texts(&replayed(&replay, &first).collect::<Vec<_>>().await), texts(&heard));
        assert_eq!(replayed(&replay, &answer).collect::<Vec<_>>().await.len(), 0);
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_conversation_that_is_over() {
        let replay = Replay::new(1 << 20);
        let conversation = replay.begin();
        let first = conversation.keep("a:1", &priming());
        let listening = tokio::spawn(replayed(&conversation, &first).collect::<Vec<_>>());
        tokio::task::yield_now().await;
        drop(conversation);
        assert_eq!(listening.await.unwrap().len(), 0);
        let kept = replay.lock();
        assert!(kept.conversations.is_empty() && kept.bytes == 0);
    }

    #[tokio::test]
    async fn what_was_told_elsewhere_is_not_told() {
        let replay = Replay::new(1 << 20);
        let (one, other) = (replay.begin(), replay.begin());
        let first = one.keep("common", &priming());
        one.keep("common", &event("of one"));
        one.keep("call", &event("of one"));
        other.keep("common", &event("of the other"));
        assert_eq!(replayed(&other, &first).collect::<Vec<_>>().await.len(), 0);
        assert_eq!(replayed(&other, "0/call").collect::<Vec<_>>().await.len(), 0);
        for nonsense in ["call", "x/call", ""] {
            let refused = other.replay_events_after(nonsense).now_or_never().unwrap();
            assert!(refused.is_err(), "{nonsense}");
        }
    }

    #[test]
    fn whoever_keeps_most_gives_way() {
        let replay = Replay::new(40_000);
        let (modest, greedy) = (replay.begin(), replay.begin());
        modest.keep("1", &event("a little"));
        for call in 0..100 {
            greedy.keep(&call.to_string(), &event(&"x".repeat(1000)));
        }
        let kept = replay.lock();
        assert!(kept.bytes <= 40_000);
        let sum: usize = kept.conversations.values().map(|it| it.bytes).sum();
        assert_eq!(kept.bytes, sum);
        assert_eq!(kept.conversations[&modest.number].streams.len(), 1);
        let streams = kept.conversations[&greedy.number].streams.len();
        assert!(20 < streams && streams < 40, "{streams}");
        drop(kept);
    }

    #[test]
    fn streams_that_are_over_are_few_and_others_stay() {
        let replay = Replay::new(1 << 20);
        let told = replay.begin();
        told.keep("common", &priming());
        for call in 0..1000 {
            told.keep(&call.to_string(), &event("done"));
        }
        let kept = replay.lock();
        let conversation = &kept.conversations[&told.number];
        assert_eq!(conversation.streams.len(), STREAMS_MAX + 1);
        assert_eq!(&*conversation.streams[0].name, "common");
        assert_eq!(conversation.bytes, kept.bytes);
        drop(kept);
        // Of cancelled calls none is ever over.
        for call in 0..1000 {
            told.keep(&format!("cancelled {call}"), &priming());
        }
        let kept = replay.lock();
        let conversation = &kept.conversations[&told.number];
        assert_eq!(conversation.streams.len(), STREAMS_IN_ALL_MAX);
        assert_eq!(conversation.bytes, kept.bytes);
        drop(kept);
    }
}
