//! As much HTTP/1.1 as a few pages need: one request, one answer, the end.

use std::borrow::Cow;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long a client may take for its request, and for taking the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a client may take for the whole answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);

/// How much of an answer is written at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// The longest request.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// The most header lines.
const HEADERS_MAX: usize = 64;

/// What of a request matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) host: Option<String>,
    pub(super) origin: Option<String>,
    pub(super) authorization: Option<String>,
    pub(super) upgrade: Option<String>,
    pub(super) websocket_key: Option<String>,
    pub(super) websocket_version: Option<String>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: &'static str,
    pub(super) kind: &'static str,
    pub(super) body: Cow<'static, [u8]>,
}

impl Answer {
    /// An answer without content but its own name.
    pub(super) fn of(status: &'static str) -> Self {
        Self {
            status,
            kind: "text/plain; charset=utf-8",
            body: format!("{status}\n").into_bytes().into(),
        }
    }
}

/// Reads a request, or why there is none.
pub(super) fn receive(client: &mut TcpStream) -> io::Result<Result<Request, Answer>> {
    client.set_write_timeout(Some(PATIENCE))?;
    client.set_nodelay(true)?;
    read(client)
}

/// Tells a client that there are too many.
pub(super) fn turn_away(mut client: TcpStream) {
    // Small enough for the socket's buffer: this does not wait for the client.
    client.set_nonblocking(true).ok();
    write(&mut client, &Answer::of("503 Service Unavailable")).ok();
}

fn read(client: &mut TcpStream) -> io::Result<Result<Request, Answer>> {
    let until = Instant::now() + PATIENCE;
    let mut bytes = Vec::with_capacity(1024);
    let mut chunk = [0; 1024];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Err(Answer::of("408 Request Timeout")));
        }
        client.set_read_timeout(Some(left))?;
        let count = client.read(&mut chunk)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&chunk[..count]);
        if let Some(parsed) = parse(&bytes) {
            return Ok(parsed);
        }
        if REQUEST_BYTES_MAX <= bytes.len() {
            return Ok(Err(Answer::of("431 Request Header Fields Too Large")));
        }
    }
}

/// Nothing while the request is not whole.
fn parse(bytes: &[u8]) -> Option<Result<Request, Answer>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(_)) => (),
        Err(_) => return Some(Err(Answer::of("400 Bad Request"))),
    }
    let mut request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        ..Request::default()
    };
    for header in parsed.headers.iter() {
        let value = String::from_utf8_lossy(header.value).into_owned();
        match header.name.to_ascii_lowercase().as_str() {
            "host" => request.host = Some(value),
            "origin" => request.origin = Some(value),
            "authorization" => request.authorization = Some(value),
            "upgrade" => request.upgrade = Some(value),
            "sec-websocket-key" => request.websocket_key = Some(value),
            "sec-websocket-version" => request.websocket_version = Some(value),
            _ => (),
        }
    }
    Some(Ok(request))
}

/// What a browser may do with what comes from here: load our own files, and talk to us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; img-src 'self' data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// Writes an answer.
pub(super) fn write(client: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let Answer { status, kind, body } = answer;
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\n\
         content-security-policy: {POLICY}\r\nreferrer-policy: no-referrer\r\n\
         cross-origin-resource-policy: same-origin\r\nconnection: close\r\n\r\n"
    );
    let until = Instant::now() + ANSWER_PATIENCE;
    let mut first = head.into_bytes();
    let begin = body.len().min(PIECE_BYTES);
    first.extend_from_slice(&body[..begin]);
    client.write_all(&first)?;
    for piece in body[begin..].chunks(PIECE_BYTES) {
        if until < Instant::now() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        client.write_all(piece)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_when_it_is_whole() {
        assert_eq!(parse(b"GET /state HTTP/1.1\r\nHost: x\r\n"), None);
        let request = parse(b"GET /state HTTP/1.1\r\nHOST: x\r\n\r\n").unwrap().unwrap();
        assert_eq!(request.target, "/state");
        assert_eq!(request.host.as_deref(), Some("x"));
    }

    #[test]
    fn what_is_not_http_is_refused() {
        let refused = parse(b"\x16\x03\x01 hello\r\n\r\n").unwrap().unwrap_err();
        assert_eq!(refused.status, "400 Bad Request");
    }
}
