//! What is read anew when SIGHUP says so: tokens, the certificate, and the keys of an authorization
//! server. Whatever else the configuration says needs a restart, and it is said which keys do.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::auth::Auth;
use crate::code::chain;
use crate::config::Config;
use crate::http::tls::Tls;

/// Reads a configuration from where the running one came from.
pub(crate) type Reread = Box<dyn Fn() -> anyhow::Result<Config> + Send + Sync>;

/// What can be read anew.
pub(crate) struct Reload {
    pub(crate) auth: Auth,
    pub(crate) tls: Option<Tls>,
    pub(crate) running: Config,
    pub(crate) reread: Reread,
}

/// Hears SIGHUP from now on; before that, it would end the daemon.
pub(crate) fn hear() -> anyhow::Result<Signal> {
    signal(SignalKind::hangup()).context("SIGHUP cannot be heard")
}

impl Reload {
    /// Does it whenever SIGHUP says so.
    pub(crate) fn on(self, mut hangups: Signal) {
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                self.run().await;
            }
        });
    }

    async fn run(&self) {
        match self.auth.reload() {
            Ok(Some(tokens)) => tracing::info!(tokens, "read the tokens anew"),
            Ok(None) => (),
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, "the tokens could not be read anew; those before stay");
            }
        }
        match self.tls.as_ref().map(Tls::reload) {
            Some(Ok(())) => tracing::info!("read the certificate anew"),
            Some(Err(error)) => {
                let error = chain(&error);
                tracing::error!(
                    error,
                    "the certificate could not be read anew; the one before stays"
                );
            }
            None => (),
        }
        self.auth.look_for_keys().await;
        match (self.reread)() {
            Ok(config) => {
                let keys = changed(&self.running, &config);
                if !keys.is_empty() {
                    let keys = keys.join(", ");
                    tracing::warn!(keys, "the configuration has changed where it needs a restart");
                }
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(
                    error,
                    "the configuration is not usable; the daemon would not start"
                );
            }
        }
    }
}

/// The keys whose values differ.
fn changed(before: &Config, after: &Config) -> Vec<String> {
    let table = |config: &Config| config.to_toml().parse::<toml::Table>().unwrap_or_default();
    let mut keys = Vec::new();
    differ("", &table(before), &table(after), &mut keys);
    keys
}

fn differ(above: &str, before: &toml::Table, after: &toml::Table, keys: &mut Vec<String>) {
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    for name in names {
        let key = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match (before.get(name), after.get(name)) {
            (Some(toml::Value::Table(before)), Some(toml::Value::Table(after))) => {
                differ(&key, before, after, keys);
            }
            (before, after) if before == after => (),
            _ => keys.push(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_which_keys_have_changed() {
        let before = Config::default();
        let set = ["sessions.max=3".to_owned(), "http.quotas.burst=7".to_owned()];
        let after = Config::load(None, &set).unwrap();
        assert_eq!(changed(&before, &after), ["http.quotas.burst", "sessions.max"]);
        assert!(changed(&after, &after).is_empty());
    }
}
