//! A daemon over standard input and output, and a quick client of it.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simward_tests::client::LEGACY;
use tempfile::TempDir;

use crate::programs::Programs;
use crate::stats::Samples;
use crate::wire::is_success;
use crate::{process, server};

/// How many calls are in flight.
pub(crate) const IN_FLIGHT: u8 = 8;

/// What comes before an answer's id, which has one digit.
const BEFORE_ID: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":";

/// A daemon on pipes.
#[derive(Debug)]
pub(crate) struct Pipe {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    buffer: Vec<u8>,
    filled: usize,
    _state: TempDir,
}

impl Pipe {
    /// Starts a daemon and shakes hands with it.
    pub(crate) fn start(programs: &Programs) -> Self {
        let state = TempDir::new().unwrap();
        let mut command: Command = server::command(programs, "stdio", &state);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let buffer = vec![0; 1 << 20];
        let mut pipe = Self { child, stdin, stdout, buffer, filled: 0, _state: state };
        let hello = json!({
            "protocolVersion": LEGACY,
            "capabilities": {},
            "clientInfo": { "name": "bench", "version": "0" },
        });
        pipe.ask("initialize", &hello);
        pipe.send(&line(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })));
        pipe
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Calls a tool; returns its structured content.
    pub(crate) fn tool(&mut self, name: &str, arguments: &Value) -> Value {
        let answer = self.ask("tools/call", &json!({ "name": name, "arguments": arguments }));
        assert_eq!(answer["result"]["isError"], false, "{answer}");
        answer["result"]["structuredContent"].clone()
    }

    /// Keeps calls of a tool in flight for a while.
    pub(crate) fn repeat(&mut self, tool: &str, arguments: &Value, time: Duration) -> Flow {
        let call = |id: u8| {
            let params = json!({ "name": tool, "arguments": arguments });
            line(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }))
        };
        let calls: Vec<_> = (0..IN_FLIGHT).map(call).collect();
        let mut flow = Flow { cpu_secs: process::cpu_secs(self.pid()), ..Flow::default() };
        let begun = Instant::now();
        let mut sent = vec![begun; calls.len()];
        self.send(&calls.concat());
        let mut waiting = calls.len();
        while waiting != 0 {
            self.fill();
            let now = Instant::now();
            let mut more = Vec::new();
            for id in self.take_answers() {
                flow.micros.add_micros(now - sent[id]);
                waiting -= 1;
                if now - begun < time {
                    sent[id] = now;
                    more.extend_from_slice(&calls[id]);
                    waiting += 1;
                }
            }
            self.send(&more);
        }
        flow.wall = begun.elapsed();
        flow.cpu_secs = process::cpu_secs(self.pid()) - flow.cpu_secs;
        flow
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.send(&line(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })));
        loop {
            self.fill();
            if self.buffer[..self.filled].ends_with(b"\n") {
                let answer = serde_json::from_slice(&self.buffer[..self.filled]).unwrap();
                self.filled = 0;
                return answer;
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn fill(&mut self) {
        let count = self.stdout.read(&mut self.buffer[self.filled..]).unwrap();
        assert!(count != 0, "the daemon hung up, or said too much");
        self.filled += count;
    }

    /// The ids of the answers that are there whole.
    fn take_answers(&mut self) -> Vec<usize> {
        let mut ids = Vec::new();
        let mut begin = 0;
        while let Some(length) = self.buffer[begin..self.filled].iter().position(|b| *b == b'\n') {
            let answer = &self.buffer[begin..begin + length];
            let id = answer.strip_prefix(BEFORE_ID).and_then(<[u8]>::first);
            let said = || String::from_utf8_lossy(answer);
            assert!(is_success(answer) && id.is_some(), "{}", said());
            ids.extend(id.map(|digit| usize::from(digit - b'0')));
            begin += length + 1;
        }
        self.buffer.copy_within(begin..self.filled, 0);
        self.filled -= begin;
        ids
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.stdin = None;
        self.child.wait().unwrap();
    }
}

/// What came of calls in flight.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    pub(crate) micros: Samples,
    pub(crate) wall: Duration,
    /// Of the daemon without its workers.
    pub(crate) cpu_secs: f64,
}

fn line(message: &Value) -> Vec<u8> {
    format!("{message}\n").into_bytes()
}
