//! The file of tokens: their digests, never the tokens themselves.
//!
//! ```toml
//! [[token]]
//! name = "ann"
//! tenant = "lab"            # whose everything is; without it the name
//! scopes = ["sim:use"]      # without it just this one
//! sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
//! expires = 2027-01-01T00:00:00Z   # without it never
//! ```

use std::fmt;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::Scope;
use crate::handle;

/// The longest file, and the most tokens in it.
const FILE_BYTES_MAX: u64 = 4 << 20;
const TOKENS_MAX: usize = 10_000;

/// The longest name of a token or a tenant.
const NAME_CHARS_MAX: usize = 64;

/// What every token begins with, so that scanners find one that lies around.
pub const PREFIX: &str = "swt_";

/// All tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The tokens.
    #[serde(default, rename = "token")]
    pub tokens: Vec<Token>,
}

/// One token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Its name.
    pub name: String,
    /// Whose everything is that comes of it; without it the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What it may do.
    #[serde(default = "use_only")]
    pub scopes: Vec<Scope>,
    /// Its digest.
    pub sha256: Digest,
    /// Until when it is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Moment>,
}

fn use_only() -> Vec<Scope> {
    vec![Scope::Use]
}

impl Token {
    /// Whose everything is that comes of it.
    pub fn tenant(&self) -> &str {
        self.tenant.as_deref().unwrap_or(&self.name)
    }
}

/// The SHA-256 of a token. Tokens are 128 random bits, so that nobody can guess one from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of a token.
    pub fn of(token: &str) -> Self {
        Self(sha2::Sha256::digest(token.as_bytes()).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

impl FromStr for Digest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let wrong = "a digest is 64 hexadecimal digits";
        let digit = |letter: char| letter.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let digits: Option<Vec<u8>> = text.chars().map(digit).collect();
        let bytes: Vec<u8> = digits
            .ok_or(wrong)?
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect();
        let digest = bytes.try_into().map_err(|_length| wrong)?;
        if text.len() == 64 { Ok(Self(digest)) } else { Err(wrong) }
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A moment, as TOML has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Timestamp);

impl Moment {
    /// Whether it is over.
    pub fn is_over(self) -> bool {
        self.0 <= Timestamp::now()
    }

    /// That many days from now.
    pub fn in_days(days: u32) -> Self {
        let span = SignedDuration::from_hours(24 * i64::from(days));
        Self(Timestamp::now().checked_add(span).unwrap_or(Timestamp::MAX))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}", self.0)
    }
}

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let moment = text.parse().map(Self);
        moment.map_err(|_bad| "a moment is written like 2027-01-01T00:00:00Z")
    }
}

impl Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let moment: toml::value::Datetime =
            self.to_string().parse().map_err(serde::ser::Error::custom)?;
        moment.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let moment = toml::value::Datetime::deserialize(deserializer)?;
        moment.to_string().parse().map_err(serde::de::Error::custom)
    }
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It cannot be read.
    #[error("the tokens file {} cannot be read", .path.display())]
    Read {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// It cannot be written.
    #[error("the tokens file {} cannot be written", .path.display())]
    Write {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// Others may read it.
    #[error(
        "the tokens file {} may be read or written by others (mode {mode:03o}); `chmod 600` it",
        .path.display()
    )]
    Open {
        /// Where it is.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is no such file.
    #[error("the tokens file {} is not valid: {problem}", .path.display())]
    Invalid {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// There is one of that name.
    #[error("there is a token named `{0}` already; revoke it first")]
    Exists(String),
    /// There is none of that name.
    #[error("there is no token named `{0}`")]
    Unknown(String),
    /// A name that cannot be one.
    #[error("{what} `{name}` must have 1 to 64 letters, digits, `-`, `_`, `.`, `@` or `/`")]
    Name {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
    },
}

impl File {
    /// Reads a file, which must exist.
    pub fn read(path: &Path) -> Result<Self, TokensError> {
        let failed = |error| TokensError::Read { path: path.to_owned(), error };
        let about = std::fs::metadata(path).map_err(failed)?;
        let mode = about.permissions().mode() & 0o777;
        // What a service manager hands over belongs to it, and only its group may read it.
        if mode & 0o027 != 0 {
            return Err(TokensError::Open { path: path.to_owned(), mode });
        }
        let invalid = |problem: String| TokensError::Invalid { path: path.to_owned(), problem };
        if FILE_BYTES_MAX < about.len() {
            return Err(invalid(format!("it is longer than {FILE_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let file: Self = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        file.check().map_err(invalid)?;
        Ok(file)
    }

    /// Reads a file; one that does not exist has no tokens.
    pub fn read_or_new(path: &Path) -> Result<Self, TokensError> {
        match Self::read(path) {
            Err(TokensError::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            read => read,
        }
    }

    fn check(&self) -> Result<(), String> {
        if TOKENS_MAX < self.tokens.len() {
            return Err(format!("it has more than {TOKENS_MAX} tokens"));
        }
        let mut names: Vec<&str> = self.tokens.iter().map(|token| token.name.as_str()).collect();
        names.sort_unstable();
        if let Some([twice, ..]) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("two tokens are named `{twice}`"));
        }
        for token in &self.tokens {
            check_name("a token", &token.name).map_err(|error| error.to_string())?;
            check_name("a tenant", token.tenant()).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Writes it whole or not at all. Whoever could read the one before can read this one: root
    /// changes the file of a daemon that is somebody else.
    pub fn write(&self, path: &Path) -> Result<(), TokensError> {
        let failed = |error| TokensError::Write { path: path.to_owned(), error };
        let text = toml::to_string(self).map_err(|error| failed(io::Error::other(error)))?;
        // A name that nobody could put something under before.
        let beside = path.with_extension(handle::new("toml."));
        let write = || {
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&beside)?;
            let mode = Permissions::from_mode(keep_owner(&file, path));
            file.set_permissions(mode)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&beside, path)
        };
        write().map_err(|error| {
            std::fs::remove_file(&beside).ok();
            failed(error)
        })
    }

    /// Adds a token; returns it, and nobody can tell it again.
    pub fn add(
        &mut self,
        name: &str,
        tenant: Option<&str>,
        scopes: Vec<Scope>,
        expires: Option<Moment>,
    ) -> Result<String, TokensError> {
        check_name("the token", name)?;
        check_name("the tenant", tenant.unwrap_or(name))?;
        if self.tokens.iter().any(|token| token.name == name) {
            return Err(TokensError::Exists(name.to_owned()));
        }
        let token = handle::new(PREFIX);
        let sha256 = Digest::of(&token);
        let (name, tenant) = (name.to_owned(), tenant.map(str::to_owned));
        self.tokens.push(Token { name, tenant, scopes, sha256, expires });
        Ok(token)
    }

    /// Removes a token.
    pub fn revoke(&mut self, name: &str) -> Result<(), TokensError> {
        let before = self.tokens.len();
        self.tokens.retain(|token| token.name != name);
        if self.tokens.len() == before {
            return Err(TokensError::Unknown(name.to_owned()));
        }
        Ok(())
    }
}

/// Gives a new file to whom the one belongs that it replaces; returns its mode. Who may not give it
/// away keeps it to itself, and so it is where there was none.
fn keep_owner(file: &std::fs::File, replaced: &Path) -> u32 {
    let about = std::fs::symlink_metadata(replaced).ok().filter(std::fs::Metadata::is_file);
    let Some(about) = about else { return 0o600 };
    let given = fchown(file, Some(about.uid()), Some(about.gid()));
    if given.is_ok() { about.mode() & 0o640 } else { 0o600 }
}

fn check_name(what: &'static str, name: &str) -> Result<(), TokensError> {
    let is_sound = |letter: char| letter.is_ascii_alphanumeric() || "-_.@/".contains(letter);
    if (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(is_sound) {
        return Ok(());
    }
    let name = name.chars().take(NAME_CHARS_MAX).collect();
    Err(TokensError::Name { what, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back_as_it_was_written_and_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        let mut file = File::read_or_new(&path).unwrap();
        let expires = "2027-01-01T00:00:00Z".parse().unwrap();
        let token = file.add("ann", Some("lab"), Scope::ALL.to_vec(), Some(expires)).unwrap();
        file.add("bob@example", None, vec![Scope::Use], None).unwrap();
        file.write(&path).unwrap();
        assert_eq!(File::read(&path).unwrap(), file);
        assert_eq!(file.tokens[0].sha256, Digest::of(&token));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            !text.contains(&token) && text.contains("expires = 2027-01-01T00:00:00Z"),
            "{text}"
        );
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(file.add("ann", None, Vec::new(), None), Err(TokensError::Exists(_))));
        file.revoke("ann").unwrap();
        assert!(matches!(file.revoke("ann"), Err(TokensError::Unknown(_))));
    }

    #[test]
    fn a_file_that_is_written_anew_stays_whose_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        std::fs::write(&path, "").unwrap();
        // Only root can give a file away.
        let whose = if rustix::process::geteuid().is_root() { 4711 } else { own_group(&path) };
        std::os::unix::fs::chown(&path, None, Some(whose)).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        File::default().write(&path).unwrap();
        let about = std::fs::metadata(&path).unwrap();
        assert_eq!((about.gid(), about.mode() & 0o777), (whose, 0o640));
    }

    fn own_group(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().gid()
    }

    #[test]
    fn nothing_that_lies_beside_it_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("tokens.toml"), folder.path().join("victim"));
        std::fs::write(&victim, "mine").unwrap();
        for name in ["tokens.toml.new", "tokens.new"] {
            std::os::unix::fs::symlink(&victim, folder.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        File::default().write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine");
        assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        std::fs::write(&path, "").unwrap();
        for (mode, is_fine) in [(0o644, false), (0o620, false), (0o640, true), (0o400, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(File::read(&path).is_ok(), is_fine, "{mode:o}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        let digest = Digest::of("x");
        let twice = format!("[[token]]\nname='a'\nsha256='{digest}'\n").repeat(2);
        for (text, said) in [
            (twice.as_str(), "two tokens are named `a`"),
            ("[[token]]\nname='a'\nsha256='12'\n", "64 hexadecimal digits"),
            ("[[token]]\nname='a'\n", "sha256"),
            ("[[tokens]]\nname='a'\n", "unknown field"),
            (&format!("[[token]]\nname='a b'\nsha256='{digest}'\n"), "must have 1 to 64"),
            (&format!("[[token]]\nname='a'\nsha256='{digest}'\nscopes=['all']"), "pool:admin"),
        ] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let error = File::read(&path).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
