//! An authorization server, as far as tests need one: it registers everybody, lets everybody in, and
//! signs tokens with keys that it publishes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

/// One that answers on the loopback address until it is dropped.
#[derive(Debug)]
pub struct Authority {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    key: Mutex<(String, EncodingKey)>,
    is_down: AtomicBool,
    is_over: AtomicBool,
    /// What the next client that is sent to it asks for, and gets.
    asked: Mutex<Value>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Authority {
    /// Starts one.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            key: Mutex::new(new_key("first")),
            is_down: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            asked: Mutex::default(),
        });
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming() {
                    if shared.is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    // A client that breaks off is no matter.
                    stream.and_then(|stream| shared.answer(address, stream)).ok();
                }
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// Its name.
    pub fn issuer(&self) -> String {
        format!("http://{}/lab", self.address)
    }

    /// From now on it answers nothing of use, or again.
    pub fn set_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Signs with another key from now on, and publishes that one alone.
    pub fn change_key(&self, id: &str) {
        *self.shared.key.lock().unwrap() = new_key(id);
    }

    /// A token for that resource and subject.
    pub fn token(&self, resource: &str, subject: &str, scope: &str) -> String {
        let claims = json!({ "aud": resource, "sub": subject, "scope": scope });
        self.shared.sign(&self.issuer(), claims)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        TcpStream::connect(self.address).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn new_key(id: &str) -> (String, EncodingKey) {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    (id.to_owned(), EncodingKey::from_ec_der(&pair.serialize_der()))
}

impl Shared {
    fn sign(&self, issuer: &str, mut claims: Value) -> String {
        claims["iss"] = json!(issuer);
        claims["exp"] = json!(get_current_timestamp() + 600);
        let key = self.key.lock().unwrap();
        let header = Header { kid: Some(key.0.clone()), ..Header::new(Algorithm::ES256) };
        encode(&header, &claims, &key.1).unwrap()
    }

    fn answer(&self, own: SocketAddr, stream: TcpStream) -> std::io::Result<()> {
        // A client that says nothing holds up nobody for long.
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? <= 2 {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let body = String::from_utf8_lossy(&body);
        let (head, content) = if self.is_down.load(Ordering::SeqCst) {
            ("500 Internal Server Error".to_owned(), Value::Null)
        } else {
            self.page(own, path, query, &body)
        };
        let content = content.to_string();
        let length = content.len();
        write!(
            reader.get_mut(),
            "HTTP/1.1 {head}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{content}"
        )
    }

    fn page(&self, own: SocketAddr, path: &str, query: &str, body: &str) -> (String, Value) {
        let ok = |content| ("200 OK".to_owned(), content);
        let issuer = format!("http://{own}/lab");
        match path {
            "/.well-known/oauth-authorization-server/lab" => ok(json!({
                "issuer": issuer,
                "jwks_uri": format!("{issuer}/keys"),
                "authorization_endpoint": format!("{issuer}/authorize"),
                "token_endpoint": format!("{issuer}/token"),
                "registration_endpoint": format!("{issuer}/register"),
                "response_types_supported": ["code"],
                "code_challenge_methods_supported": ["S256"],
            })),
            "/lab/keys" => {
                let key = self.key.lock().unwrap();
                let mut jwk = Jwk::from_encoding_key(&key.1, Algorithm::ES256).unwrap();
                jwk.common.key_id = Some(key.0.clone());
                ok(json!({ "keys": [jwk] }))
            }
            "/lab/register" => {
                let mut client: Value = serde_json::from_str(body).unwrap_or_default();
                client["client_id"] = json!("tests");
                ("201 Created".to_owned(), client)
            }
            "/lab/authorize" => {
                let resource = decoded(&field(query, "resource"));
                let scope = decoded(&field(query, "scope"));
                *self.asked.lock().unwrap() =
                    json!({ "aud": resource, "scope": scope, "sub": "ann" });
                let (back, state) = (decoded(&field(query, "redirect_uri")), field(query, "state"));
                (format!("302 Found\r\nlocation: {back}?code=let-in&state={state}"), Value::Null)
            }
            "/lab/token" if field(body, "code") == "let-in" => {
                let claims = std::mem::take(&mut *self.asked.lock().unwrap());
                let token = self.sign(&issuer, claims);
                ok(json!({ "access_token": token, "token_type": "Bearer", "expires_in": 600 }))
            }
            _ => ("404 Not Found".to_owned(), Value::Null),
        }
    }
}

fn field(form: &str, name: &str) -> String {
    let mut fields = form.split('&').filter_map(|field| field.split_once('='));
    fields.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
}

/// The text of a field of a form.
fn decoded(field: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        match (first, more) {
            (b'%', [high, low, more @ ..]) => {
                let digits = [*high, *low].map(|digit| char::from(digit).to_digit(16).unwrap());
                bytes.push(u8::try_from(digits[0] * 16 + digits[1]).unwrap());
                rest = more;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).unwrap()
}
