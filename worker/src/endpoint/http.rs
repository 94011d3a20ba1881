//! As much HTTP/1.1 as a health page needs: one request, one answer, the end.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long a client may take for its request, and for taking the answer.
const PATIENCE: Duration = Duration::from_secs(2);

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
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: &'static str,
    pub(super) kind: &'static str,
    pub(super) body: String,
}

impl Answer {
    /// An answer without content but its own name.
    pub(super) fn of(status: &'static str) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: format!("{status}\n") }
    }
}

/// Serves one request.
pub(super) fn serve(
    mut client: TcpStream,
    answer: impl FnOnce(&Request) -> Answer,
) -> io::Result<()> {
    client.set_write_timeout(Some(PATIENCE))?;
    client.set_nodelay(true)?;
    let answer = match read(&mut client)? {
        Ok(request) => answer(&request),
        Err(refused) => refused,
    };
    write(&mut client, &answer)
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
            _ => (),
        }
    }
    Some(Ok(request))
}

fn write(client: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let Answer { status, kind, body } = answer;
    let length = body.len();
    let whole = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n\
         {body}"
    );
    client.write_all(whole.as_bytes())
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
