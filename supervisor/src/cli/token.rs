//! `simward token`: who may call over HTTP.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::print;
use super::table::table;
use crate::auth::Scope;
use crate::auth::tokens::{File, Moment, Token};
use crate::config::Config;
use crate::daemon;

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    action: Action,
    /// The configuration file, for where the tokens are.
    #[arg(long, env = "SIMWARD_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Where the daemon keeps its state, for where the tokens are.
    #[arg(long, env = "SIMWARD_STATE_DIR", value_name = "DIR", global = true)]
    state_dir: Option<PathBuf>,
    /// The file of tokens itself.
    #[arg(long, value_name = "FILE", global = true)]
    file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token, and print it: it cannot be printed again.
    Add {
        /// What the token is called.
        name: String,
        /// Whose everything is that comes of it; without it the name. Tokens of one tenant share it.
        #[arg(long)]
        tenant: Option<String>,
        /// What it may do: `sim:use`, `metrics:read`, `pool:admin`.
        #[arg(long = "scope", value_name = "SCOPE", default_value = "sim:use")]
        scopes: Vec<Scope>,
        /// For how many days it is good; without it for ever.
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
    },
    /// List the tokens, without what they are.
    List {
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
    },
    /// End a token. A running daemon knows it once it has read the tokens anew (SIGHUP).
    Revoke {
        /// What the token is called.
        name: String,
    },
}

pub(super) fn run(args: TokenArgs) -> anyhow::Result<()> {
    let TokenArgs { action, config, state_dir, file } = args;
    let mut config = Config::load(config.as_deref(), &[])?;
    if let Some(state_dir) = state_dir {
        config.state_dir = state_dir;
    }
    if let Some(file) = file {
        config.auth.tokens_file = file;
    }
    let path = daemon::tokens_file(&config);
    let mut file = File::read_or_new(&path)?;
    match action {
        Action::Add { name, tenant, scopes, days } => {
            let token = file.add(&name, tenant.as_deref(), scopes, days.map(Moment::in_days))?;
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            file.write(&path)?;
            print(&format!("{token}\n"));
        }
        Action::List { json: true } => print(&format!("{}\n", listed(&file))),
        Action::List { json: false } => print(&shown(&file)),
        Action::Revoke { name } => {
            file.revoke(&name)?;
            file.write(&path)?;
        }
    }
    Ok(())
}

fn listed(file: &File) -> serde_json::Value {
    let one = |token: &Token| {
        serde_json::json!({
            "name": token.name,
            "tenant": token.tenant(),
            "scopes": token.scopes,
            "expires": token.expires.map(|end| end.to_string()),
            "is_over": token.expires.is_some_and(Moment::is_over),
        })
    };
    file.tokens.iter().map(one).collect()
}

fn shown(file: &File) -> String {
    let row = |token: &Token| {
        let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.name()).collect();
        let expires = token.expires.map_or_else(|| "never".to_owned(), |end| end.to_string());
        vec![token.name.clone(), token.tenant().to_owned(), scopes.join(" "), expires]
    };
    let rows: Vec<_> = file.tokens.iter().map(row).collect();
    table(&["NAME", "TENANT", "SCOPES", "EXPIRES"], &rows)
}
