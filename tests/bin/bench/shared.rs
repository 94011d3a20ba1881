//! A daemon that many share: callers have tokens, their calls are counted, and each is written down.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use simward_supervisor::auth::tokens::Digest;
use tempfile::TempDir;

use crate::programs::Programs;
use crate::server::Server;

/// A daemon that many share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) server: Server,
    /// One of each tenant.
    pub(crate) tokens: Vec<String>,
    _folder: TempDir,
}

impl Shared {
    /// Starts one for so many tenants, with more keys of the configuration set.
    pub(crate) fn start(programs: &Programs, tenants: usize, more: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let tokens: Vec<_> = (0..tenants).map(|tenant| format!("swt_{tenant:032x}")).collect();
        let file = folder.path().join("tokens.toml");
        write(&file, &listed(&tokens)).unwrap();
        let file = format!("auth.tokens_file={}", file.display());
        let audit = format!("audit.path={}", folder.path().join("audit.jsonl").display());
        let settings = [&["auth.mode=tokens", &file, &audit], more].concat();
        let server = Server::start_with(programs, &settings);
        Self { server, tokens, _folder: folder }
    }
}

fn listed(tokens: &[String]) -> String {
    let mut text = String::new();
    for (tenant, token) in tokens.iter().enumerate() {
        let digest = Digest::of(token);
        writeln!(text, "[[token]]\nname = \"tenant-{tenant}\"\nsha256 = \"{digest}\"").unwrap();
    }
    text
}

/// Writes a file that only its owner may read: the daemon takes no other.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
