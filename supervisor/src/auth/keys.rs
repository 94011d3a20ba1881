//! The keys of an authorization server: where they come from, and how long they are good.
//!
//! They are fetched before they are needed, every hour, and when a token names one that is not there,
//! but not for every such token. While the server cannot be reached, the keys of before hold for a
//! day.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::code::chain;

/// How often keys are looked for: when they were there the last time, and when they were not.
const LOOK_EVERY: Duration = Duration::from_hours(1);
const RETRY_EVERY: Duration = Duration::from_mins(1);

/// How long keys are good that were not seen again.
const STALE_MAX: Duration = Duration::from_hours(24);

/// Nobody makes us look for keys more often than this.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// How long a look may take in all, and how long an answer may be.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// The most keys of a server.
const KEYS_MAX: usize = 64;

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// From where the metadata of that issuer says.
    Issuer(Url),
    /// From there.
    Url(Url),
    /// A file of this machine.
    File(PathBuf),
}

/// Keys that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read.
    #[error("{} could not be read", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// There is no answer.
    #[error("{url} could not be asked")]
    Ask {
        /// Who was asked.
        url: Url,
        /// Why there is no answer.
        #[source]
        error: reqwest::Error,
    },
    /// The answer is of no use.
    #[error("{from} answers {what}")]
    Answer {
        /// Who answers.
        from: String,
        /// What is wrong with it.
        what: String,
    },
    /// There is no answer in time.
    #[error("there is no answer within {} s", ANSWER_WITHIN.as_secs())]
    Late,
    /// That address must not be asked.
    #[error("`{0}` is no https address, nor one of this machine")]
    Address(String),
}

/// A key, and what it may sign with.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// As it was published.
    jwk: Jwk,
    algorithms: &'static [Algorithm],
    only: Option<Algorithm>,
    pub(super) checks: DecodingKey,
}

/// All keys, as they were at a time.
#[derive(Debug, Default)]
struct Set {
    keys: Vec<Arc<Key>>,
    /// How many times they have changed.
    generation: u64,
    /// When they were last seen to be these.
    seen: Option<Instant>,
}

/// What a look at the keys finds.
#[derive(Debug)]
pub(super) enum Found {
    /// The key, and the generation of the set that has it.
    Key(Arc<Key>, u64),
    /// There is none of that name.
    None,
    /// There are no keys that can be trusted.
    Unavailable,
}

/// The keys. They are fetched by whoever needs them, one fetch at a time.
#[derive(Debug)]
pub(super) struct Keys {
    source: Source,
    /// Nobody is asked for a file.
    client: Option<reqwest::Client>,
    set: RwLock<Set>,
    /// When somebody last looked for them.
    looked: Mutex<Option<Instant>>,
}

impl Keys {
    pub(super) fn new(source: Source) -> Result<Self, reqwest::Error> {
        let client = match source {
            Source::File(_) => None,
            Source::Issuer(_) | Source::Url(_) => Some(client()?),
        };
        Ok(Self { source, client, set: RwLock::default(), looked: Mutex::default() })
    }

    /// Looks for the keys now and then, until `stop`.
    pub(super) async fn keep_fresh(&self, stop: &CancellationToken) {
        loop {
            let pause = if self.look_now().await { LOOK_EVERY } else { RETRY_EVERY };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => (),
            }
        }
    }

    /// The key with which a token of that header is checked. It is looked for where it comes from if
    /// it is not there.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Found {
        if let Some((key, generation)) = self.known(id, algorithm) {
            return Found::Key(key, generation);
        }
        self.look_again().await;
        match self.known(id, algorithm) {
            Some((key, generation)) => Found::Key(key, generation),
            None if self.is_usable() => Found::None,
            None => Found::Unavailable,
        }
    }

    /// The generation of the keys, if they can be trusted.
    pub(super) fn generation(&self) -> Option<u64> {
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        set.is_usable().then_some(set.generation)
    }

    fn is_usable(&self) -> bool {
        self.generation().is_some()
    }

    fn known(&self, id: Option<&str>, algorithm: Algorithm) -> Option<(Arc<Key>, u64)> {
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        if !set.is_usable() {
            return None;
        }
        // A token that names no key can only mean the one that there is.
        let mut fits = set
            .keys
            .iter()
            .filter(|key| key.may(algorithm) && id.is_none_or(|id| key.id() == Some(id)));
        let key = fits.next()?;
        let is_clear = id.is_some() || fits.next().is_none();
        is_clear.then(|| (Arc::clone(key), set.generation))
    }

    /// Looks for the keys, unless somebody just has.
    pub(super) async fn look_again(&self) {
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|at| at.elapsed() < LOOK_AGAIN_AFTER) {
            return;
        }
        self.look_and_tell(&mut looked).await;
    }

    /// Looks for the keys, whoever has looked before; tells whether they are there.
    pub(super) async fn look_now(&self) -> bool {
        let mut looked = self.looked.lock().await;
        self.look_and_tell(&mut looked).await
    }

    /// How many there are where they come from.
    pub(super) async fn count(&self) -> Result<usize, KeysError> {
        Ok(self.fetch_in_time().await?.len())
    }

    async fn look_and_tell(&self, looked: &mut Option<Instant>) -> bool {
        let fetched = self.fetch_in_time().await;
        *looked = Some(Instant::now());
        match fetched {
            Ok(keys) => {
                tracing::debug!(keys = keys.len(), "the authorization server's keys are here");
                self.take(keys);
                true
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(error, "the authorization server's keys could not be had");
                false
            }
        }
    }

    async fn fetch_in_time(&self) -> Result<Vec<Key>, KeysError> {
        let fetched = tokio::time::timeout(ANSWER_WITHIN, self.fetch()).await;
        fetched.unwrap_or(Err(KeysError::Late))
    }

    fn take(&self, keys: Vec<Key>) {
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        let are_the_same = set.keys.len() == keys.len()
            && set.keys.iter().zip(&keys).all(|(old, new)| old.jwk == new.jwk);
        if !are_the_same {
            set.generation += 1;
            set.keys = keys.into_iter().map(Arc::new).collect();
        }
        set.seen = Some(Instant::now());
    }

    async fn fetch(&self) -> Result<Vec<Key>, KeysError> {
        match &self.source {
            Source::File(path) => {
                let content =
                    read(path).map_err(|error| KeysError::File { path: path.clone(), error })?;
                parse(&content, &path.display().to_string())
            }
            Source::Url(url) => parse(&self.get(url).await?, url.as_str()),
            Source::Issuer(issuer) => {
                let url = self.discover(issuer).await?;
                parse(&self.get(&url).await?, url.as_str())
            }
        }
    }

    /// Where an issuer's keys are: RFC 8414, or else `OpenID` Connect Discovery.
    async fn discover(&self, issuer: &Url) -> Result<Url, KeysError> {
        let [oauth, openid] = metadata_of(issuer);
        let (at, content) = match self.get(&oauth).await {
            Ok(content) => (oauth, content),
            Err(KeysError::Answer { .. }) => {
                let content = self.get(&openid).await?;
                (openid, content)
            }
            Err(error) => return Err(error),
        };
        let answer = |what: &str| KeysError::Answer { from: at.to_string(), what: what.to_owned() };
        let metadata: Metadata = serde_json::from_slice(&content)
            .map_err(|error| answer(&format!("what is no metadata: {error}")))?;
        // Who speaks for somebody else is not believed.
        if metadata.issuer.trim_end_matches('/') != issuer.as_str().trim_end_matches('/') {
            return Err(answer(&format!(
                "with the metadata of another issuer, `{}`",
                metadata.issuer
            )));
        }
        address(&metadata.jwks_uri)
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, KeysError> {
        let broken = |error| KeysError::Ask { url: url.clone(), error };
        let answer = |what: String| KeysError::Answer { from: url.to_string(), what };
        let client = self.client.as_ref().ok_or_else(|| answer("nobody".to_owned()))?;
        let mut response = client.get(url.clone()).send().await.map_err(broken)?;
        if response.status() != StatusCode::OK {
            return Err(answer(format!("with the status {}", response.status())));
        }
        let mut content = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            if ANSWER_BYTES_MAX < content.len() + piece.len() {
                return Err(answer(format!("with more than {ANSWER_BYTES_MAX} bytes")));
            }
            content.extend_from_slice(&piece);
        }
        Ok(content)
    }
}

/// Who asks. It knows the authorities that the system trusts.
fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .timeout(ANSWER_WITHIN)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("simward/", env!("CARGO_PKG_VERSION")))
        .build()
}

impl Set {
    fn is_usable(&self) -> bool {
        self.seen.is_some_and(|seen| seen.elapsed() < STALE_MAX)
    }
}

impl Key {
    /// Nothing of a key that signs nothing that we can check.
    fn of(jwk: &Jwk) -> Option<Self> {
        if jwk.common.public_key_use.as_ref().is_some_and(|it| *it != PublicKeyUse::Signature) {
            return None;
        }
        let algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => RSA.as_slice(),
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(_) => &[Algorithm::EdDSA],
            // A secret that is published is none.
            _ => return None,
        };
        let only = match &jwk.common.key_algorithm {
            None => None,
            Some(named) => Some(named.to_string().parse().ok()?),
        };
        let checks = DecodingKey::from_jwk(jwk).ok()?;
        Some(Self { jwk: jwk.clone(), algorithms, only, checks })
    }

    fn id(&self) -> Option<&str> {
        self.jwk.common.key_id.as_deref()
    }

    fn may(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm) && self.only.is_none_or(|only| only == algorithm)
    }
}

const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

#[derive(Debug, Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

#[derive(Debug, Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

/// A key of a kind that we do not know is none; the others are good.
fn parse(content: &[u8], from: &str) -> Result<Vec<Key>, KeysError> {
    let answer = |what: String| KeysError::Answer { from: from.to_owned(), what };
    let set: JwkSet = serde_json::from_slice(content)
        .map_err(|error| answer(format!("what is no set of keys: {error}")))?;
    if KEYS_MAX < set.keys.len() {
        return Err(answer(format!("with more than {KEYS_MAX} keys")));
    }
    let known = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let keys: Vec<Key> = known.filter_map(|jwk| Key::of(&jwk)).collect();
    if keys.is_empty() {
        return Err(answer("without a key with which a signature can be checked".to_owned()));
    }
    Ok(keys)
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(ANSWER_BYTES_MAX as u64).read_to_end(&mut content)?;
    Ok(content)
}

/// An address that may be asked: what it says cannot be changed on its way.
pub(super) fn address(text: &str) -> Result<Url, KeysError> {
    let refused = || KeysError::Address(text.chars().take(200).collect());
    let url = Url::parse(text).map_err(|_error| refused())?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_here);
    if is_safe { Ok(url) } else { Err(refused()) }
}

fn metadata_of(issuer: &Url) -> [Url; 2] {
    let path = issuer.path().trim_end_matches('/');
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url.set_query(None);
        url.set_fragment(None);
        url
    };
    [
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("{path}/.well-known/openid-configuration")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_lies_where_the_two_standards_say() {
        let at = |issuer: &str| metadata_of(&Url::parse(issuer).unwrap()).map(String::from);
        assert_eq!(
            at("https://login.example"),
            [
                "https://login.example/.well-known/oauth-authorization-server",
                "https://login.example/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            at("https://login.example/realms/lab/"),
            [
                "https://login.example/.well-known/oauth-authorization-server/realms/lab",
                "https://login.example/realms/lab/.well-known/openid-configuration",
            ]
        );
    }

    #[test]
    fn only_addresses_that_nobody_can_listen_in_on_are_asked() {
        for safe in ["https://login.example/keys", "http://127.0.0.1:9/keys", "http://[::1]/"] {
            address(safe).unwrap();
        }
        for not in ["http://login.example/keys", "file:///etc/passwd", "keys.json", ""] {
            address(not).unwrap_err();
        }
    }

    #[test]
    fn keys_that_sign_nothing_that_we_check_are_left_out() {
        let x = "WKn-ZIGevcwGIyyrzFoZNBdaq9_TsqzGl96oc0CWuis";
        let y = "y77t-RvAHRKTsSGdIYUfweuOvwrvDD-Q3Hv5J0fSKbE";
        let ec = |more: &str| format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"{more}}}"#);
        let good = ec(r#","kid":"one","alg":"ES256","use":"sig""#);
        let set = format!(
            r#"{{"keys":[{good},{},{{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}},{{"kty":"new"}},7]}}"#,
            ec(r#","use":"enc""#)
        );
        let keys = parse(set.as_bytes(), "here").unwrap();
        assert_eq!(keys.len(), 1);
        assert!(keys[0].may(Algorithm::ES256) && !keys[0].may(Algorithm::HS256));
        assert!(!keys[0].may(Algorithm::ES384));
        for none in [r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#, "[]", ""] {
            parse(none.as_bytes(), "here").unwrap_err();
        }
        let many = format!(r#"{{"keys":[{}]}}"#, vec![good; 65].join(","));
        parse(many.as_bytes(), "here").unwrap_err();
    }
}
