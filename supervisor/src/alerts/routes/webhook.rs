//! Alerts over HTTP, in the form of Prometheus's Alertmanager (`POST /api/v2/alerts`).
//!
//! What is signed is `TIME.BODY`, with HMAC-SHA256: `x-simward-timestamp` and `x-simward-signature:
//! sha256=…`. Whoever checks both cannot be told anything old again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{StatusCode, Url};
use serde::Serialize;
use sha2::Sha256;

use super::{Notice, WebhookConfig};
use crate::alerts::report::now_secs;
use crate::code::chain;

/// How often a batch is sent, and after what pauses.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// The longest secret, in bytes.
const SECRET_BYTES_MAX: u64 = 4096;

/// The one webhook.
#[derive(Debug)]
pub(super) struct Webhook {
    url: Url,
    secret: Option<Vec<u8>>,
    client: reqwest::Client,
}

/// An alert, as Alertmanager has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    labels: BTreeMap<&'a str, &'a str>,
    annotations: BTreeMap<&'a str, String>,
    starts_at: &'a str,
    ends_at: &'a str,
}

impl Webhook {
    /// The one of the configuration, if it has one.
    pub(super) fn open(config: &WebhookConfig) -> anyhow::Result<Option<Self>> {
        if config.url.is_empty() {
            return Ok(None);
        }
        let url: Url = config.url.parse().context("`alerts.webhook.url` is no address")?;
        let is_web = ["http", "https"].contains(&url.scheme());
        anyhow::ensure!(is_web, "`alerts.webhook.url` must begin with http:// or https://");
        let secret = secret(config)?;
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs_f64(config.timeout_secs))
            // What is sent is for that address and no other.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("simward/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Some(Self { url, secret, client }))
    }

    /// Sends notices, again if need be.
    pub(super) async fn post(&self, notices: &[Arc<Notice>]) -> Result<(), String> {
        let posted: Vec<_> = notices.iter().map(|notice| Posted::of(notice)).collect();
        let body = serde_json::to_vec(&posted).map_err(|error| error.to_string())?;
        let mut pauses = PAUSES.into_iter();
        loop {
            let (error, is_worth_it) = match self.post_once(&body).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            let Some(pause) = pauses.next().filter(|_| is_worth_it) else { return Err(error) };
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends it once; tells, if that failed, whether it is worth trying again.
    async fn post_once(&self, body: &[u8]) -> Result<(), (String, bool)> {
        let mut request = self.client.post(self.url.clone()).body(body.to_vec());
        request = request.header("content-type", "application/json");
        if let Some(secret) = &self.secret {
            let time = format!("{:.0}", now_secs());
            let signature = sign(secret, &time, body);
            request = request.header("x-simward-timestamp", time);
            request = request.header("x-simward-signature", format!("sha256={signature}"));
        }
        let answered = request.send().await;
        match answered.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) => {
                let may_pass = status.is_server_error()
                    || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS]
                        .contains(&status);
                Err((format!("it answers {status}"), may_pass))
            }
            // The address may hold a password; without it the error says the same.
            Err(error) => Err((chain(&error.without_url()), true)),
        }
    }
}

impl<'a> Posted<'a> {
    fn of(notice: &'a Notice) -> Self {
        let alert = &notice.alert;
        let mut labels: BTreeMap<&str, &str> =
            alert.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        labels.insert("alertname", &alert.rule);
        labels.insert("owner", &alert.owner);
        labels.insert("severity", alert.severity.name());
        let mut annotations = BTreeMap::from([("summary", alert.condition.clone())]);
        annotations.extend(alert.value.map(|value| ("value", value.to_string())));
        annotations.extend(alert.acts_at.as_ref().map(|at| ("acts_at", at.clone())));
        if !alert.runbook.is_empty() {
            annotations.insert("runbook", alert.runbook.clone());
        }
        Self { labels, annotations, starts_at: &notice.starts_at, ends_at: &notice.ends_at }
    }
}

fn secret(config: &WebhookConfig) -> anyhow::Result<Option<Vec<u8>>> {
    let path = &config.secret_file;
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let read = || {
        use std::io::Read as _;
        let mut text = String::new();
        std::fs::File::open(path)?.take(SECRET_BYTES_MAX).read_to_string(&mut text)?;
        std::io::Result::Ok(text)
    };
    let text = read().with_context(|| {
        format!("the secret of the webhook could not be read from {}", path.display())
    })?;
    let secret = text.trim().as_bytes().to_vec();
    anyhow::ensure!(!secret.is_empty(), "{} has no secret in it", path.display());
    Ok(Some(secret))
}

fn sign(secret: &[u8], time: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    let mut text = String::new();
    for byte in mac.finalize().into_bytes() {
        // Writing to a string does not fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `printf '1.{}' | openssl dgst -sha256 -hmac key` says.
    #[test]
    fn signatures_are_those_that_others_compute() {
        let signature = sign(b"key", "1", b"{}");
        assert_eq!(signature, SIGNED);
    }

    const SIGNED: &str = "1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224";

    #[test]
    fn what_cannot_be_used_is_refused_at_the_start() {
        let open = |url: &str, secret: &str| {
            let (url, secret_file) = (url.to_owned(), secret.into());
            Webhook::open(&WebhookConfig { url, secret_file, timeout_secs: 1.0 })
        };
        assert!(open("", "").unwrap().is_none());
        for (url, secret) in [("x", ""), ("file:///x", ""), ("http://x", "/nowhere")] {
            open(url, secret).unwrap_err();
        }
        assert!(open("http://127.0.0.1:1/x", "").unwrap().is_some());
    }
}
