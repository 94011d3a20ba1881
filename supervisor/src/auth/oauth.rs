//! Access tokens of an authorization server: JWTs that it has signed for us.
//!
//! We are a resource server of OAuth 2.1: we give no tokens, and say where they are given
//! ([RFC 9728](https://www.rfc-editor.org/rfc/rfc9728)).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::keys::{self, Found, Keys, KeysError, Source};
use super::tokens::Digest;
use super::{Denied, Principal, Scope};
use crate::tenants::Tenant;

/// Whose tokens are taken, and what they must say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The authorization server, as its tokens name it.
    pub issuer: String,
    /// The address under which clients call, for which tokens must be made.
    pub resource: String,
    /// What else tokens may be made for, where the server cannot name an address.
    pub audiences: Vec<String>,
    /// Where the server's keys are: an address or a file; empty means where its metadata says.
    pub jwks: String,
    /// The algorithms with which tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// The claim that says whose everything is that comes of it.
    pub tenant_claim: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            resource: String::new(),
            audiences: Vec::new(),
            jwks: String::new(),
            algorithms: vec![
                Algorithm::RS256,
                Algorithm::PS256,
                Algorithm::ES256,
                Algorithm::ES384,
                Algorithm::EdDSA,
            ],
            tenant_claim: "sub".to_owned(),
        }
    }
}

/// The longest token, and the longest name in it.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
const NAME_CHARS_MAX: usize = 128;

/// How far clocks may be apart.
const LEEWAY: Duration = Duration::from_mins(1);

/// Tokens that need not be checked again.
const CHECKED_MAX: usize = 4096;

/// What the tenants of tokens begin with, so that none is one of the tokens file's. Then comes which
/// issuer it is of: another one's `ann` is somebody else.
const TENANT_PREFIX: &str = "oauth";

/// A configuration with which no token can be checked.
#[derive(Debug, thiserror::Error)]
pub enum OauthError {
    /// A key says nothing, or nonsense.
    #[error("`{key}` {problem}")]
    Unusable {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An address is none.
    #[error(transparent)]
    Address(#[from] KeysError),
    /// Nobody can be asked.
    #[error(
        "authorization servers cannot be asked; are there trusted authorities (ca-certificates)?"
    )]
    Client(#[from] reqwest::Error),
}

/// Checks tokens.
#[derive(Debug)]
pub(super) struct Oauth {
    config: Config,
    /// What the tenants of its tokens begin with.
    tenants: String,
    validation: Validation,
    keys: Arc<Keys>,
    checked: Mutex<HashMap<Digest, Checked>>,
    metadata: Metadata,
}

/// A token that was found to be good.
#[derive(Clone, Debug)]
struct Checked {
    principal: Principal,
    until: SystemTime,
    generation: u64,
}

/// What clients are told about us, and where.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Its address.
    pub url: String,
    /// The path of [`resource`](Config::resource), after which it is named as well.
    pub path: String,
    /// Itself.
    pub document: Value,
}

impl Config {
    /// Where tokens come from, and what they are for.
    fn check(&self) -> Result<(Url, Url), OauthError> {
        let unusable = |key, problem| OauthError::Unusable { key, problem };
        if self.issuer.is_empty() {
            return Err(unusable("auth.oauth.issuer", "must name the authorization server"));
        }
        if self.resource.is_empty() {
            let problem = "must be the address under which clients call";
            return Err(unusable("auth.oauth.resource", problem));
        }
        let resource = keys::address(&self.resource)?;
        if resource.fragment().is_some() || resource.query().is_some() {
            return Err(unusable("auth.oauth.resource", "must have no query and no fragment"));
        }
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/-._~".contains(letter);
        let is_named = resource.username().is_empty() && resource.password().is_none();
        if !is_named || !resource.path().chars().all(is_plain) {
            let problem = "must have no user, and a path of letters, digits and `/-._~`";
            return Err(unusable("auth.oauth.resource", problem));
        }
        if self.algorithms.is_empty() || self.algorithms.iter().copied().any(is_symmetric) {
            let problem = "must name algorithms with a public key, such as ES256";
            return Err(unusable("auth.oauth.algorithms", problem));
        }
        if self.tenant_claim.is_empty() {
            return Err(unusable("auth.oauth.tenant_claim", "must name a claim, such as sub"));
        }
        Ok((keys::address(&self.issuer)?, resource))
    }

    fn source(&self, issuer: Url) -> Result<Source, OauthError> {
        Ok(match self.jwks.as_str() {
            "" => Source::Issuer(issuer),
            text if text.contains("://") => Source::Url(keys::address(text)?),
            path => Source::File(PathBuf::from(path)),
        })
    }

    fn validation(&self) -> Validation {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.algorithms.clone_from(&self.algorithms);
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.issuer]);
        let own = self.resource.trim_end_matches('/').to_owned();
        let both = [own.clone(), format!("{own}/")];
        let all: Vec<_> = both.into_iter().chain(self.audiences.iter().cloned()).collect();
        validation.set_audience(&all);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation
    }

    fn metadata(&self, resource: &Url) -> Metadata {
        let path = resource.path().trim_end_matches('/').to_owned();
        let mut url = resource.clone();
        url.set_path(&format!("{WELL_KNOWN}{path}"));
        let document = json!({
            "resource": self.resource.trim_end_matches('/'),
            "authorization_servers": [self.issuer],
            "scopes_supported": Scope::ALL,
            "bearer_methods_supported": ["header"],
            "resource_name": "simward",
        });
        Metadata { url: url.into(), path, document }
    }
}

/// Where the metadata of resources lies.
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

fn is_symmetric(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}

impl Oauth {
    pub(super) fn new(config: Config) -> Result<Self, OauthError> {
        let (issuer, resource) = config.check()?;
        let keys = Arc::new(Keys::new(config.source(issuer)?)?);
        let (validation, metadata) = (config.validation(), config.metadata(&resource));
        let issuer = Digest::of(&config.issuer).to_string();
        let tenants = format!("{TENANT_PREFIX}:{}:", issuer.get(..8).unwrap_or(&issuer));
        Ok(Self { config, tenants, validation, keys, checked: Mutex::default(), metadata })
    }

    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Looks for the authorization server's keys.
    pub(super) async fn look_for_keys(&self) {
        self.keys.look_now().await;
    }

    /// Looks for them now and then, until `stop`.
    pub(super) async fn keep_keys_fresh(&self, stop: &CancellationToken) {
        self.keys.keep_fresh(stop).await;
    }

    /// How many keys there are.
    pub(super) async fn try_keys(&self) -> Result<usize, KeysError> {
        self.keys.count().await
    }

    /// Who comes with that token.
    pub(super) async fn caller(&self, token: &str) -> Result<Principal, Denied> {
        if TOKEN_BYTES_MAX < token.len() {
            return Err(Denied::Invalid);
        }
        let digest = Digest::of(token);
        if let Some(principal) = self.checked(&digest) {
            return Ok(principal);
        }
        let header = decode_header(token).map_err(|_error| Denied::Invalid)?;
        // What must be understood and is not is no token.
        if header.crit.is_some() || !self.config.algorithms.contains(&header.alg) {
            return Err(Denied::Invalid);
        }
        let (key, generation) = match self.keys.find(header.kid.as_deref(), header.alg).await {
            Found::Key(key, generation) => (key, generation),
            Found::None => return Err(Denied::Invalid),
            Found::Unavailable => return Err(Denied::Unavailable),
        };
        let mut validation = self.validation.clone();
        validation.algorithms.retain(|algorithm| *algorithm == header.alg);
        let data = decode::<Map<String, Value>>(token, &key.checks, &validation);
        let claims = data.map_err(|error| {
            tracing::debug!(%error, "a token is not good");
            Denied::Invalid
        })?;
        let principal = self.principal(&claims.claims).ok_or(Denied::Invalid)?;
        let expires = claims.claims.get("exp").and_then(Value::as_f64).unwrap_or(0.0);
        let expires = Duration::try_from_secs_f64(expires).unwrap_or_default();
        if let Some(until) = SystemTime::UNIX_EPOCH.checked_add(expires + LEEWAY) {
            self.remember(digest, Checked { principal: principal.clone(), until, generation });
        }
        Ok(principal)
    }

    fn checked(&self, digest: &Digest) -> Option<Principal> {
        let generation = self.keys.generation()?;
        let checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let known = checked.get(digest)?;
        let is_good = known.generation == generation && SystemTime::now() < known.until;
        is_good.then(|| known.principal.clone())
    }

    /// When there is no room any more, all are checked anew.
    fn remember(&self, digest: Digest, token: Checked) {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if CHECKED_MAX <= checked.len() {
            let now = SystemTime::now();
            checked.retain(|_, known| now < known.until && known.generation == token.generation);
        }
        if CHECKED_MAX <= checked.len() {
            checked.clear();
        }
        checked.insert(digest, token);
    }

    fn principal(&self, claims: &Map<String, Value>) -> Option<Principal> {
        let name = |claim: &str| {
            let name = claims.get(claim)?.as_str()?;
            let is_fit = !name.is_empty()
                && name.chars().count() <= NAME_CHARS_MAX
                && !name.chars().any(char::is_control);
            is_fit.then_some(name)
        };
        let tenant = name(&self.config.tenant_claim)?;
        let scopes = scopes(claims);
        Some(Principal {
            tenant: Tenant::named(&format!("{}{tenant}", self.tenants)),
            name: name("sub").unwrap_or(tenant).into(),
            scopes: scopes.into(),
        })
    }
}

/// What a token may do: `scope` as RFC 8693 has it, or `scp` as others do. Scopes of others are
/// none of ours.
fn scopes(claims: &Map<String, Value>) -> Vec<Scope> {
    let mut scopes = Vec::new();
    let mut take = |text: &str| {
        scopes.extend(text.split(' ').filter_map(|name| name.parse::<Scope>().ok()));
    };
    for claim in ["scope", "scp"] {
        match claims.get(claim) {
            Some(Value::String(text)) => take(text),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).for_each(&mut take),
            _ => (),
        }
    }
    scopes.sort_unstable();
    scopes.dedup();
    scopes
}

#[cfg(test)]
mod tests;
