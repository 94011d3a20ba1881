//! The command line.

mod alerts;
mod generate;
mod log;
mod metrics;
mod pool;
mod table;
mod token;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

pub(crate) use self::pool::list as process_table;
pub(crate) use self::table::{bytes, seconds, table};
use crate::config::{Config, Format};
use crate::http::Served;
use crate::mcp::{McpServer, Toolset};
use crate::{daemon, demo, doctor, top};

/// Every MCP client its own MuJoCo simulator.
#[derive(Debug, Parser)]
#[command(name = "simward", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve MCP over HTTP.
    Serve {
        #[command(flatten)]
        common: Common,
        /// The address to listen on; port 0 picks a free one.
        #[arg(long, env = "SIMWARD_LISTEN", value_name = "ADDRESS:PORT")]
        listen: Option<SocketAddr>,
        /// Print the address as one JSON line on standard output once it is open.
        #[arg(
            long,
            env = "SIMWARD_PRINT_ADDRESS",
            action = clap::ArgAction::SetTrue,
            value_parser = clap::builder::FalseyValueParser::new()
        )]
        print_address: bool,
    },
    /// Serve MCP over standard input and output, for a desktop client.
    Stdio {
        #[command(flatten)]
        common: Common,
    },
    /// Look at the configuration.
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Look at a running daemon's processes, and end them.
    Pool(pool::PoolArgs),
    /// Look at a running daemon's alerts, and at the rules behind them.
    Alerts(alerts::AlertsArgs),
    /// Write what was measured to a file.
    Metrics(metrics::MetricsArgs),
    /// Watch a running daemon: the machine, sessions, tools and alerts, anew every second.
    Top(top::TopArgs),
    /// Make, list and revoke the tokens with which clients call over HTTP.
    Token(token::TokenArgs),
    /// Try everything that the daemon needs, and say how to mend what is missing.
    Doctor {
        #[command(flatten)]
        common: Common,
        /// Print the findings as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what it does: three sessions, one of them killed.
    Demo(demo::DemoArgs),
    /// Write manual pages and completions for shells, for whoever makes a package.
    #[command(hide = true)]
    Generate {
        /// The folder that they are written to.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigAction {
    /// Print the configuration in force, defaults included.
    Print {
        #[command(flatten)]
        common: Common,
        /// The address that `serve` would listen on.
        #[arg(long, env = "SIMWARD_LISTEN", value_name = "ADDRESS:PORT")]
        listen: Option<SocketAddr>,
    },
}

/// What every daemon may be told on the command line.
#[derive(Clone, Debug, Args)]
struct Common {
    /// The configuration file.
    #[arg(long, env = "SIMWARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the daemon keeps its sockets, and `serve` its sessions.
    #[arg(long, env = "SIMWARD_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// First and last port of sessions.
    #[arg(long, env = "SIMWARD_PORT_RANGE", value_name = "FIRST-LAST")]
    port_range: Option<String>,
    /// The worker's program.
    #[arg(long, env = "SIMWARD_WORKER", value_name = "FILE")]
    worker: Option<PathBuf>,
    /// A folder below which clients may load models by their path. May be repeated; none by default.
    #[arg(
        long = "models-root",
        env = "SIMWARD_MODELS_ROOT",
        value_name = "DIR",
        value_delimiter = ':'
    )]
    models_roots: Vec<PathBuf>,
    /// A folder with models in the layout of MuJoCo Menagerie.
    #[arg(long, env = "SIMWARD_MENAGERIE_DIR", value_name = "DIR")]
    menagerie_dir: Option<PathBuf>,
    /// The form of log lines.
    #[arg(long, env = "SIMWARD_LOG_FORMAT", value_enum)]
    log_format: Option<Format>,
    /// Which events are logged, such as `debug` or `warn,simward_supervisor=debug`.
    #[arg(long, env = "SIMWARD_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// The toolsets that clients are offered; without it all of them.
    #[arg(
        long,
        env = "SIMWARD_TOOLSETS",
        value_enum,
        value_name = "NAME,…",
        value_delimiter = ','
    )]
    toolsets: Option<Vec<Toolset>>,
    /// Sets any key of the configuration, such as `pool.hang_after_secs=0.5`. May be repeated.
    #[arg(long = "set", env = "SIMWARD_SET", value_name = "KEY=VALUE", value_delimiter = ';')]
    set: Vec<String>,
}

impl Common {
    fn load(self) -> anyhow::Result<Config> {
        let Self {
            config,
            state_dir,
            port_range,
            worker,
            models_roots,
            menagerie_dir,
            log_format,
            log,
            toolsets,
            set,
        } = self;
        let mut config = Config::load(config.as_deref(), &set)?;
        if !models_roots.is_empty() {
            let absolute = models_roots.iter().map(std::path::absolute);
            config.models.roots = absolute.collect::<Result<_, _>>()?;
        }
        if let Some(folder) = menagerie_dir {
            config.models.menagerie_dir = std::path::absolute(folder)?;
        }
        if let Some(state_dir) = state_dir {
            config.state_dir = state_dir;
        }
        if let Some(range) = port_range {
            config.pool.ports.range = range.parse()?;
        }
        if let Some(worker) = worker {
            config.pool.worker = worker;
        }
        if let Some(format) = log_format {
            config.log.format = format;
        }
        if let Some(filter) = log {
            config.log.filter = filter;
        }
        if let Some(toolsets) = toolsets {
            config.mcp.toolsets = toolsets;
        }
        Ok(config)
    }
}

/// Runs a command line, of which `serve` serves what `extend` makes of our MCP server.
pub(crate) fn run<S: Served>(
    args: impl IntoIterator<Item = OsString>,
    extend: impl FnOnce(McpServer) -> S,
) -> anyhow::Result<ExitCode> {
    match Cli::parse_from(args).command {
        Command::Serve { common, listen, print_address } => {
            let read = move || {
                let mut config = common.clone().load()?;
                if let Some(listen) = listen {
                    config.http.listen = listen;
                }
                anyhow::Ok(config)
            };
            let config = read()?;
            log::start(&config)?;
            block_on(daemon::serve_http(config, print_address, extend, Box::new(read)))?;
        }
        Command::Stdio { common } => {
            let config = common.load()?;
            log::start(&config)?;
            block_on(daemon::serve_stdio(config))?;
        }
        Command::Config { action: ConfigAction::Print { common, listen } } => {
            let mut config = common.load()?;
            if let Some(listen) = listen {
                config.http.listen = listen;
            }
            config.state_dir = daemon::state_dir(&config);
            print(&config.to_toml());
        }
        Command::Pool(args) => pool::run(args)?,
        Command::Alerts(args) => alerts::run(args)?,
        Command::Metrics(args) => metrics::run(args)?,
        Command::Top(args) => top::run(args)?,
        Command::Token(args) => token::run(args)?,
        Command::Doctor { common, json } => return block_on(doctor::run(common.load()?, json)),
        Command::Demo(args) => return block_on(demo::run(args)),
        Command::Generate { folder } => generate::run(&Cli::command(), &folder)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(future);
    // What is left are waits for processes that were killed.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    outcome
}

pub(crate) fn print(text: &str) {
    use std::io::Write as _;
    // A reader that has seen enough, such as `head`, is no error.
    write!(std::io::stdout(), "{text}").ok();
}
