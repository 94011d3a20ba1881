//! A quick client over HTTP: requests are made beforehand, and answers are hardly looked at.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simward_tests::client::MODERN;

use crate::stats::Samples;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// How near its end an answer says whether it is a refusal.
const TAIL_BYTES: usize = 200;

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: vec![0; 256 * 1024], filled: 0 }
    }

    /// Sends a request, and waits for the whole answer.
    pub(crate) fn call(&mut self, request: &[u8]) -> Answer<'_> {
        self.send(request);
        self.receive()
    }

    /// Sends a request.
    pub(crate) fn send(&mut self, request: &[u8]) {
        self.stream.write_all(request).unwrap();
    }

    /// Waits for the whole answer.
    pub(crate) fn receive(&mut self) -> Answer<'_> {
        self.filled = 0;
        let mut end = None;
        loop {
            let count = self.stream.read(&mut self.buffer[self.filled..]).unwrap();
            assert!(count != 0, "the daemon closed the connection, or said too much");
            self.filled += count;
            let answer = &self.buffer[..self.filled];
            end = end.or_else(|| End::of(answer));
            if end.as_ref().is_some_and(|end| end.is_reached(answer)) {
                assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", text(answer));
                return Answer(&self.buffer[..self.filled]);
            }
        }
    }

    /// Makes the same call for a while, and tells how long each took in microseconds.
    pub(crate) fn repeat(&mut self, request: &[u8], until: Instant) -> Samples {
        let mut samples = Samples::default();
        let mut begun = Instant::now();
        while begun < until {
            self.call(request).expect_success();
            let now = Instant::now();
            samples.add_micros(now - begun);
            begun = now;
        }
        samples
    }
}

/// Every client makes its call again and again.
pub(crate) fn storm(address: SocketAddr, calls: &[Vec<u8>], until: Instant) -> Samples {
    std::thread::scope(|scope| {
        let start = |call| scope.spawn(move || Wire::connect(address).repeat(call, until));
        let clients: Vec<_> = calls.iter().map(Vec::as_slice).map(start).collect();
        let mut samples = Samples::default();
        for client in clients {
            samples.extend(client.join().unwrap());
        }
        samples
    })
}

/// Where an answer ends.
pub(crate) enum End {
    At(usize),
    /// With the empty chunk.
    Chunk,
}

impl End {
    /// Where this one ends, if its head is there.
    pub(crate) fn of(answer: &[u8]) -> Option<Self> {
        let head = 4 + answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
        let length = text(&answer[..head]).to_ascii_lowercase();
        let length = length.lines().find_map(|line| line.strip_prefix("content-length:"));
        Some(
            length.map_or(Self::Chunk, |length| {
                Self::At(head + length.trim().parse::<usize>().unwrap())
            }),
        )
    }

    pub(crate) fn is_reached(&self, answer: &[u8]) -> bool {
        match self {
            Self::At(end) => *end <= answer.len(),
            Self::Chunk => answer.ends_with(b"\r\n0\r\n\r\n"),
        }
    }
}

/// An answer, head and all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a>(&'a [u8]);

impl Answer<'_> {
    /// Stops everything if it is a refusal.
    pub(crate) fn expect_success(self) {
        assert!(self.is_success(), "{}", text(self.0));
    }

    pub(crate) fn is_success(self) -> bool {
        is_success(self.0)
    }

    /// How long its body is, in bytes.
    pub(crate) fn body_bytes(self) -> usize {
        self.0.len() - 4 - self.0.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap()
    }

    /// Its structured content.
    pub(crate) fn content(self) -> Value {
        let begin = self.0.iter().position(|byte| *byte == b'{').unwrap();
        let end = self.0.iter().rposition(|byte| *byte == b'}').unwrap();
        let answer: Value = serde_json::from_slice(&self.0[begin..=end]).unwrap();
        answer["result"]["structuredContent"].clone()
    }
}

/// Whether an answer is none of the refusals.
pub(crate) fn is_success(answer: &[u8]) -> bool {
    const MARK: &[u8] = b"\"isError\":false";
    let tail = &answer[answer.len().saturating_sub(TAIL_BYTES)..];
    tail.windows(MARK.len()).any(|bytes| bytes == MARK)
}

/// A whole request, ready to be sent any number of times.
pub(crate) fn request(tool: &str, arguments: &Value) -> Vec<u8> {
    request_with(tool, arguments, &[])
}

/// The same of somebody who has a token.
pub(crate) fn request_as(token: &str, tool: &str, arguments: &Value) -> Vec<u8> {
    request_with(tool, arguments, &[format!("authorization: Bearer {token}")])
}

fn request_with(tool: &str, arguments: &Value, more: &[String]) -> Vec<u8> {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "bench", "version": "0" },
    });
    let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let body = body.to_string();
    let head = [
        "POST /mcp HTTP/1.1".to_owned(),
        "host: 127.0.0.1".to_owned(),
        "content-type: application/json".to_owned(),
        "accept: application/json, text/event-stream".to_owned(),
        format!("mcp-protocol-version: {MODERN}"),
        "mcp-method: tools/call".to_owned(),
        format!("mcp-name: {tool}"),
        format!("content-length: {}", body.len()),
    ];
    let head = [&head[..], more].concat().join("\r\n");
    format!("{head}\r\n\r\n{body}").into_bytes()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
