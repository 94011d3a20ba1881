//! Who calls over HTTP, and what they may do.
//!
//! Without authentication there is one tenant, whoever reaches the address, and it may do
//! everything; that is for the loopback address. With tokens, a call comes with one of those that
//! the tokens file lists, or one that an authorization server has signed, and is its tenant's.

mod keys;
pub mod oauth;
pub mod tokens;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use self::keys::KeysError;
use self::oauth::{Metadata, Oauth};
use self::tokens::{Digest, File, Moment, TokensError};
use crate::tenants::Tenant;

/// How callers are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How.
    pub mode: Mode,
    /// The file that lists the tokens; empty means `tokens.toml` in systemd's folder of credentials,
    /// or else in the state folder.
    pub tokens_file: PathBuf,
    /// Whether anybody may call although the address is no loopback address.
    pub allow_anonymous: bool,
    /// The authorization server whose tokens are taken.
    pub oauth: oauth::Config,
}

/// How callers are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They are not.
    #[default]
    None,
    /// By the bearer tokens of a file.
    Tokens,
    /// By those of an authorization server.
    Oauth,
    /// By either.
    TokensOrOauth,
}

impl Mode {
    /// Whether the tokens of a file are taken.
    pub fn takes_tokens(self) -> bool {
        matches!(self, Self::Tokens | Self::TokensOrOauth)
    }

    /// Whether those of an authorization server are.
    pub fn takes_oauth(self) -> bool {
        matches!(self, Self::Oauth | Self::TokensOrOauth)
    }
}

/// Something that somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// Use simulators of one's own.
    #[serde(rename = "sim:use")]
    Use,
    /// See how fast it all is.
    #[serde(rename = "metrics:read")]
    ReadMetrics,
    /// See every tenant's processes, and end them.
    #[serde(rename = "pool:admin")]
    AdministerPool,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Use, Self::ReadMetrics, Self::AdministerPool];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Use => "sim:use",
            Self::ReadMetrics => "metrics:read",
            Self::AdministerPool => "pool:admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|scope| scope.name() == text);
        found.ok_or_else(|| format!("`{text}` is no scope; there are {known}"))
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Whose everything is that comes of it.
    pub tenant: Tenant,
    /// The name of its token.
    pub name: Arc<str>,
    /// What it may do.
    scopes: Arc<[Scope]>,
}

impl Principal {
    /// Whoever reaches this machine's standard input or loopback address.
    pub fn local() -> Self {
        Self { tenant: Tenant::local(), name: "local".into(), scopes: Scope::ALL.into() }
    }

    /// Whether it may do that.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Everything that it may do.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// There is no token, or it is of another kind.
    Missing,
    /// There is no such token, or not any more.
    Invalid,
    /// It cannot be checked at the moment.
    Unavailable,
}

/// Tells callers apart. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Auth {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    listed: Option<Listed>,
    oauth: Option<Oauth>,
}

/// The tokens of a file.
#[derive(Debug)]
struct Listed {
    path: PathBuf,
    known: RwLock<Known>,
}

/// The tokens by their digest.
type Known = HashMap<Digest, Entry>;

#[derive(Clone, Debug)]
struct Entry {
    principal: Principal,
    expires: Option<Moment>,
}

/// Callers cannot be told apart as configured.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The file of tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// Nor can what is said of the authorization server.
    #[error(transparent)]
    Oauth(#[from] oauth::OauthError),
}

impl Auth {
    /// Nobody is asked.
    pub fn none() -> Self {
        Self { inner: Arc::default() }
    }

    /// Callers are told apart as configured; tokens are listed in `tokens_file`.
    pub fn open(config: &Config, tokens_file: PathBuf) -> Result<Self, AuthError> {
        let listed = config.mode.takes_tokens().then(|| Listed::open(tokens_file)).transpose()?;
        let oauth = config.mode.takes_oauth().then(|| Oauth::new(config.oauth.clone()));
        Ok(Self { inner: Arc::new(Inner { listed, oauth: oauth.transpose()? }) })
    }

    /// Whether callers are asked who they are.
    pub fn asks(&self) -> bool {
        self.inner.listed.is_some() || self.inner.oauth.is_some()
    }

    /// Where callers get tokens, if an authorization server gives them.
    pub fn metadata(&self) -> Option<&Metadata> {
        self.inner.oauth.as_ref().map(Oauth::metadata)
    }

    /// Reads the tokens of the file anew, where there is one; tells how many there are. If that
    /// fails, those before stay.
    pub fn reload(&self) -> Result<Option<usize>, TokensError> {
        let Some(listed) = &self.inner.listed else { return Ok(None) };
        let known = known(&File::read(&listed.path)?);
        let count = known.len();
        *listed.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(Some(count))
    }

    /// Looks for the keys of the authorization server, if there is one.
    pub async fn look_for_keys(&self) {
        if let Some(oauth) = &self.inner.oauth {
            oauth.look_for_keys().await;
        }
    }

    /// Looks for them now and then, until `stop`.
    pub async fn keep_keys_fresh(&self, stop: &CancellationToken) {
        if let Some(oauth) = &self.inner.oauth {
            oauth.keep_keys_fresh(stop).await;
        }
    }

    /// How many keys the authorization server has, if there is one.
    pub async fn try_keys(&self) -> Option<Result<usize, KeysError>> {
        Some(self.inner.oauth.as_ref()?.try_keys().await)
    }

    /// Who comes with that header.
    pub async fn caller(&self, authorization: Option<&str>) -> Result<Principal, Denied> {
        if !self.asks() {
            return Ok(Principal::local());
        }
        let (kind, token) =
            authorization.and_then(|it| it.split_once(' ')).ok_or(Denied::Missing)?;
        if !kind.eq_ignore_ascii_case("bearer") {
            return Err(Denied::Missing);
        }
        let token = token.trim();
        let Inner { listed, oauth } = &*self.inner;
        match (listed, oauth) {
            (Some(listed), None) => listed.caller(token),
            (Some(listed), Some(_)) if token.starts_with(tokens::PREFIX) => listed.caller(token),
            (_, Some(oauth)) => oauth.caller(token).await,
            (None, None) => Err(Denied::Missing),
        }
    }
}

impl Listed {
    fn open(path: PathBuf) -> Result<Self, TokensError> {
        let known = known(&File::read(&path)?);
        Ok(Self { path, known: RwLock::new(known) })
    }

    fn caller(&self, token: &str) -> Result<Principal, Denied> {
        // Digests are compared, and of a digest nobody learns the token by its time.
        let digest = Digest::of(token);
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let entry = known.get(&digest).ok_or(Denied::Invalid)?;
        if entry.expires.is_some_and(Moment::is_over) {
            return Err(Denied::Invalid);
        }
        Ok(entry.principal.clone())
    }
}

fn known(file: &File) -> Known {
    let entry = |token: &tokens::Token| {
        let principal = Principal {
            tenant: Tenant::named(token.tenant()),
            name: token.name.as_str().into(),
            scopes: token.scopes.as_slice().into(),
        };
        (token.sha256, Entry { principal, expires: token.expires })
    };
    file.tokens.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn with(text: &str) -> (tempfile::TempDir, Auth) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = Config { mode: Mode::Tokens, ..Config::default() };
        let auth = Auth::open(&config, path).unwrap();
        (folder, auth)
    }

    fn entry(name: &str, token: &str, more: &str) -> String {
        format!("[[token]]\nname = \"{name}\"\nsha256 = \"{}\"\n{more}\n", Digest::of(token))
    }

    #[tokio::test]
    async fn a_token_is_its_tenants_and_may_do_what_its_scopes_say() {
        let text = entry("ann", "swt_1", "scopes = [\"sim:use\"]\ntenant = \"lab\"")
            + &entry("bob", "swt_2", "scopes = [\"pool:admin\", \"sim:use\"]");
        let (_folder, auth) = with(&text);
        let ann = auth.caller(Some("Bearer swt_1")).await.unwrap();
        assert_eq!((&ann.tenant, &*ann.name), (&Tenant::named("lab"), "ann"));
        assert!(ann.may(Scope::Use) && !ann.may(Scope::AdministerPool));
        let bob = auth.caller(Some("bearer swt_2")).await.unwrap();
        assert_eq!(bob.tenant, Tenant::named("bob"));
        assert!(bob.may(Scope::AdministerPool));
    }

    #[tokio::test]
    async fn who_has_no_token_or_a_wrong_or_an_old_one_is_not_let_in() {
        let text = entry("ann", "swt_1", "expires = 2020-01-01T00:00:00Z")
            + &entry("bob", "swt_2", "expires = 2999-01-01T00:00:00Z");
        let (_folder, auth) = with(&text);
        assert_eq!(auth.caller(None).await, Err(Denied::Missing));
        assert_eq!(auth.caller(Some("Basic YTpi")).await, Err(Denied::Missing));
        assert_eq!(auth.caller(Some("Bearer swt_3")).await, Err(Denied::Invalid));
        assert_eq!(auth.caller(Some("Bearer swt_1")).await, Err(Denied::Invalid));
        auth.caller(Some("Bearer swt_2")).await.unwrap();
    }

    #[tokio::test]
    async fn tokens_are_read_anew_and_a_broken_file_changes_nothing() {
        let (folder, auth) = with(&entry("ann", "swt_1", ""));
        let path = folder.path().join("tokens.toml");
        std::fs::write(&path, "[[token]").unwrap();
        auth.reload().unwrap_err();
        auth.caller(Some("Bearer swt_1")).await.unwrap();
        std::fs::write(&path, entry("bob", "swt_2", "")).unwrap();
        assert_eq!(auth.reload().unwrap(), Some(1));
        assert_eq!(auth.caller(Some("Bearer swt_1")).await, Err(Denied::Invalid));
        auth.caller(Some("Bearer swt_2")).await.unwrap();
    }

    #[tokio::test]
    async fn where_nobody_is_asked_everybody_may_do_everything() {
        let local = Auth::none().caller(None).await.unwrap();
        assert!(Scope::ALL.into_iter().all(|scope| local.may(scope)));
    }
}
