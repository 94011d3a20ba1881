//! MCP clients: one over HTTP in the newer protocol, one over standard input in the older one.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout};

use serde_json::{Value, json};

use crate::http::{Answer, Http};

/// The newer protocol's version.
pub const MODERN: &str = "2026-07-28";

/// The older protocol's version.
pub const LEGACY: &str = "2025-11-25";

/// A refusal's structured content.
pub type Refused = Value;

/// A client over HTTP, in the newer protocol: every call stands for itself.
#[derive(Debug)]
pub struct HttpClient {
    http: Http,
    next: u64,
    capabilities: Value,
    token: Option<String>,
}

impl HttpClient {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        Self {
            http: Http::connect(address).unwrap(),
            next: 1,
            capabilities: json!({}),
            token: None,
        }
    }

    /// Comes with that token from now on.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    /// The client says of itself what it can do.
    pub fn declare(&mut self, capabilities: Value) {
        self.capabilities = capabilities;
    }

    /// Makes a request; returns the whole JSON-RPC answer.
    pub fn ask(&mut self, method: &str, name: Option<&str>, params: Value) -> Value {
        let answer = self.request(method, name, params);
        serde_json::from_slice(&answer.body)
            .unwrap_or_else(|error| panic!("{method}: {error}: {}", answer.text()))
    }

    /// Calls a tool; returns its structured content, or the refusal's.
    pub fn tool(&mut self, name: &str, arguments: Value) -> Result<Value, Refused> {
        let answer = self.tool_raw(name, arguments);
        assert_eq!(answer.status, 200, "{}", answer.text());
        structured(&serde_json::from_slice(&answer.body).unwrap())
    }

    /// Calls a tool whose answer has more than words; returns its structured content and the
    /// blocks after it.
    pub fn tool_with_content(
        &mut self,
        name: &str,
        arguments: Value,
    ) -> Result<(Value, Vec<Value>), Refused> {
        let answer = self.tool_raw(name, arguments);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = serde_json::from_slice(&answer.body).unwrap();
        let about = structured(&answer)?;
        let content = answer["result"]["content"].as_array().unwrap();
        Ok((about, content.iter().skip(1).cloned().collect()))
    }

    /// Calls a tool; returns the HTTP answer.
    pub fn tool_raw(&mut self, name: &str, arguments: Value) -> Answer {
        let params = json!({ "name": name, "arguments": arguments });
        self.request("tools/call", Some(name), params)
    }

    /// Makes a request; returns the HTTP answer.
    pub fn request(&mut self, method: &str, name: Option<&str>, params: Value) -> Answer {
        self.try_request(method, name, params).unwrap()
    }

    /// The same of a daemon that may be gone.
    pub fn try_request(
        &mut self,
        method: &str,
        name: Option<&str>,
        params: Value,
    ) -> std::io::Result<Answer> {
        let (headers, body) = self.prepare(method, name, params);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.http.ask("POST", "/mcp", &headers, &body)
    }

    /// Sends a tool call without waiting for its answer.
    pub fn send_tool(&mut self, name: &str, arguments: Value) {
        let params = json!({ "name": name, "arguments": arguments });
        let (headers, body) = self.prepare("tools/call", Some(name), params);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.http.send("POST", "/mcp", &headers, &body).unwrap();
    }

    /// Makes a request whose answer is a stream of messages.
    pub fn open(mut self, method: &str, params: Value) -> Stream {
        let (headers, body) = self.prepare(method, None, params);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.http.send("POST", "/mcp", &headers, &body).unwrap();
        let head = self.http.read_head().unwrap();
        assert_eq!(head.status, 200, "{head:?}");
        Stream { http: self.http, head, text: String::new() }
    }

    /// The status of an answer that may be a stream, which is not read.
    pub fn peek(mut self, method: &str, params: Value) -> u16 {
        let (headers, body) = self.prepare(method, None, params);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.http.send("POST", "/mcp", &headers, &body).unwrap();
        self.http.read_head().unwrap().status
    }

    fn prepare(
        &mut self,
        method: &str,
        name: Option<&str>,
        mut params: Value,
    ) -> (Vec<(&'static str, String)>, Vec<u8>) {
        // What a test says beside that, such as a `traceparent`, stays.
        let meta = &mut params["_meta"];
        meta["io.modelcontextprotocol/protocolVersion"] = MODERN.into();
        meta["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
        let info = json!({ "name": "tests", "version": "0" });
        meta["io.modelcontextprotocol/clientInfo"] = info;
        let id = self.next;
        self.next += 1;
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("accept", "application/json, text/event-stream".to_owned()),
            ("mcp-protocol-version", MODERN.to_owned()),
            ("mcp-method", method.to_owned()),
        ];
        headers.extend(name.map(|name| ("mcp-name", name.to_owned())));
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        headers.extend(bearer.map(|bearer| ("authorization", bearer)));
        (headers, body.to_string().into_bytes())
    }
}

/// An answer that goes on.
#[derive(Debug)]
pub struct Stream {
    http: Http,
    head: Answer,
    text: String,
}

impl Stream {
    /// The next message.
    pub fn message(&mut self) -> Value {
        loop {
            while let Some((line, rest)) = self.text.split_once('\n') {
                let message =
                    line.strip_prefix("data:").map(|data| serde_json::from_str(data.trim()));
                self.text = rest.to_owned();
                if let Some(Ok(message)) = message {
                    return message;
                }
            }
            let chunk = self.http.read_chunk(&self.head).unwrap().expect("the stream goes on");
            self.text.push_str(&String::from_utf8(chunk).unwrap());
        }
    }
}

/// A client over a daemon's standard input and output, in the older protocol.
#[derive(Debug)]
pub struct StdioClient {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    next: u64,
    /// Resources of whose changes was told while an answer was waited for.
    updated: VecDeque<Value>,
}

impl StdioClient {
    /// Shakes hands with a daemon that was just started with pipes.
    pub fn connect(mut child: Child) -> Self {
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut client = Self { child, stdin, lines, next: 1, updated: VecDeque::new() };
        let hello = json!({
            "protocolVersion": LEGACY,
            "capabilities": {},
            "clientInfo": { "name": "tests", "version": "0" },
        });
        client.ask("initialize", &hello);
        client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        client
    }

    /// Calls a tool; returns its structured content, or the refusal's.
    pub fn tool(&mut self, name: &str, arguments: &Value) -> Result<Value, Refused> {
        structured(&self.ask("tools/call", &json!({ "name": name, "arguments": arguments })))
    }

    /// Makes a request; returns the answer, notifications left out.
    pub fn ask(&mut self, method: &str, params: &Value) -> Value {
        let id = self.post(method, params);
        self.answer(id)
    }

    /// Makes a request without waiting for the answer; returns its id.
    pub fn post(&mut self, method: &str, params: &Value) -> u64 {
        let id = self.next;
        self.next += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    /// Sends a message.
    pub fn send(&mut self, message: &Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{message}").unwrap();
    }

    /// The next message, whatever it is.
    pub fn message(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    /// Waits for the answer to a request; drops everything that comes before it, but for news of
    /// resources.
    pub fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.message();
            if message["id"] == id {
                return message;
            }
            self.updated.extend(updated(&message));
        }
    }

    /// The address of the next resource of which it is told that it has changed.
    pub fn updated(&mut self) -> Value {
        loop {
            if let Some(uri) = self.updated.pop_front() {
                return uri;
            }
            let message = self.message();
            self.updated.extend(updated(&message));
        }
    }

    /// Forgets what was told of resources until now.
    pub fn forget_updated(&mut self) {
        self.updated.clear();
    }

    /// The daemon's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Hangs up and waits for the daemon's end.
    pub fn hang_up(&mut self) -> std::process::ExitStatus {
        self.stdin = None;
        self.child.wait().unwrap()
    }
}

impl Drop for StdioClient {
    fn drop(&mut self) {
        self.stdin = None;
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The resource that has changed, if a message is about that.
fn updated(message: &Value) -> Option<Value> {
    let is_news = message["method"] == "notifications/resources/updated";
    is_news.then(|| message["params"]["uri"].clone())
}

/// What a JSON-RPC answer to a tool call says.
fn structured(answer: &Value) -> Result<Value, Refused> {
    let result = &answer["result"];
    assert!(result.is_object(), "no result: {answer}");
    let content = result["structuredContent"].clone();
    let text = result["content"][0]["text"].as_str().unwrap_or_default();
    let text: Value = serde_json::from_str(text).unwrap_or_default();
    assert_eq!(text, content, "the text and the structured content differ");
    if result["isError"] == true { Err(content) } else { Ok(content) }
}
