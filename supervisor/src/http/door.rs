//! Who is let in, and to what.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::entrance::busy;
use super::quota::Called;
use crate::audit::{self, Audit, Entry};
use crate::auth::{Auth, Denied, Principal, Scope};
use crate::mcp;
use crate::metrics::Calls;
use crate::remote::Remote;

/// A file that somebody has sent ahead, or has tried to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// What was answered.
    pub(super) status: StatusCode,
    /// How long it is.
    pub(super) bytes: Option<u64>,
    /// How long it took.
    pub(super) took: Duration,
}

/// Asks callers who they are.
#[derive(Clone, Debug)]
pub(super) struct Door {
    auth: Auth,
    audit: Audit,
    calls: Calls,
}

impl Door {
    pub(super) fn new(auth: Auth, audit: Audit, calls: Calls) -> Self {
        Self { auth, audit, calls }
    }

    /// Notes that somebody was turned away.
    pub(super) fn note(
        &self,
        denied: &Response,
        principal: Option<&Principal>,
        peek: &Peek<'_>,
        remote: Option<Remote>,
    ) {
        self.calls.refused(denied.status().as_u16());
        if !self.audit.is_on() {
            return;
        }
        let name = peek.params.as_ref().and_then(|params| params.name.as_deref());
        self.audit.note(Entry {
            tenant: principal.map(|principal| principal.tenant.to_string()),
            caller: principal.map(|principal| principal.name.to_string()),
            remote,
            tool: name.map(audit::said),
            ..Entry::now("denied", denied.status().as_str())
        });
    }

    /// Notes that somebody has sent a file ahead, or could not.
    pub(super) fn note_upload(&self, principal: &Principal, remote: Option<Remote>, sent: Sent) {
        if !self.audit.is_on() {
            return;
        }
        let outcome = if sent.status.is_success() { "ok" } else { sent.status.as_str() };
        let entry = Entry {
            tenant: Some(principal.tenant.to_string()),
            caller: Some(principal.name.to_string()),
            remote,
            request_bytes: sent.bytes,
            ..Entry::now("upload", outcome)
        };
        self.audit.note(entry.over(outcome, sent.took));
    }

    /// Who makes a request; or the answer to somebody who is not let in.
    pub(super) async fn caller(&self, headers: &HeaderMap) -> Result<Principal, Box<Response>> {
        let authorization = headers.get(header::AUTHORIZATION);
        let authorization = authorization.and_then(|value| value.to_str().ok());
        self.auth.caller(authorization).await.map_err(|denied| {
            Box::new(match denied {
                Denied::Missing => self.challenge(
                    StatusCode::UNAUTHORIZED,
                    None,
                    Some(Scope::Use),
                    "a bearer token is needed",
                ),
                Denied::Invalid => self.challenge(
                    StatusCode::UNAUTHORIZED,
                    Some("invalid_token"),
                    None,
                    "the token is not known, or not good any more",
                ),
                Denied::Unavailable => {
                    busy("the token cannot be checked: the authorization server does not answer")
                }
            })
        })
    }

    /// The answer to somebody who may not do that.
    pub(super) fn forbids(&self, lacking: Scope) -> Response {
        let said = format!("this needs the scope {lacking}");
        self.challenge(StatusCode::FORBIDDEN, Some("insufficient_scope"), Some(lacking), &said)
    }

    /// Says what is lacking, and where it may be had (RFC 6750 and RFC 9728).
    fn challenge(
        &self,
        status: StatusCode,
        error: Option<&str>,
        scope: Option<Scope>,
        said: &str,
    ) -> Response {
        let metadata = self.auth.metadata().map(|metadata| metadata.url.as_str());
        // Who has tokens of a file has been told what they may do.
        let scope = scope.filter(|_| metadata.is_some() || error.is_some()).map(Scope::name);
        let challenge = [
            ("realm", Some("simward")),
            ("error", error),
            ("scope", scope),
            ("resource_metadata", metadata),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}=\"{}\"", value?)))
        .collect::<Vec<_>>();
        let challenge = format!("Bearer {}", challenge.join(", "));
        let mut response = (status, format!("{said}\n")).into_response();
        if let Ok(challenge) = HeaderValue::try_from(challenge) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// What can be seen of a message without reading it whole.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Peek<'a> {
    /// It is JSON of a shape that is none of these. Who reads it whole may see something in it
    /// nevertheless, so it counts as whatever it could be.
    #[serde(skip)]
    is_odd: bool,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<Params<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct Params<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    uri: Option<Cow<'a, str>>,
}

impl<'a> Peek<'a> {
    /// A look at a message; at one that is none there is nothing to see.
    pub(super) fn at(body: &'a [u8]) -> Self {
        let read = serde_json::from_slice(body);
        read.unwrap_or_else(|error| Self { is_odd: error.is_data(), ..Self::default() })
    }

    /// Whether it opens a conversation of the older protocol.
    pub(super) fn opens(&self) -> bool {
        self.is_odd || self.method.as_deref() == Some("initialize")
    }

    /// Whether it waits for news.
    pub(super) fn listens(&self) -> bool {
        self.is_odd || self.method.as_deref() == Some("subscriptions/listen")
    }

    /// Which tool it calls, if it does.
    pub(super) fn called(&self) -> Option<Called<'_>> {
        if self.is_odd {
            return Some(Called::Any);
        }
        let name = || self.params.as_ref()?.name.as_deref();
        (self.method.as_deref()? == "tools/call").then(|| name().map_or(Called::Any, Called::Tool))
    }

    /// What it needs and its sender may not do.
    pub(super) fn lacking(&self, principal: &Principal) -> Option<Scope> {
        let params = self.params.as_ref();
        let scope = match self.method.as_deref()? {
            "tools/call" => mcp::scope_of_tool(params?.name.as_deref()?)?,
            "resources/read" => mcp::scope_of_resource(params?.uri.as_deref()?),
            _ => return None,
        };
        (!principal.may(scope)).then_some(scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_initialize_opens_a_conversation() {
        let opens = |body: &[u8]| Peek::at(body).opens();
        assert!(opens(br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#));
        assert!(opens(br#"{"method":"\u0069nitialize"}"#));
        for other in [&br#"{"method":"tools/list"}"#[..], b"{}", b"", b"initialize"] {
            assert!(!opens(other));
        }
    }

    #[test]
    fn what_is_odd_counts_as_whatever_it_could_be() {
        for odd in [
            &br#"{"method":"tools/call","params":{"name":"step_simulation","uri":7}}"#[..],
            br#"{"method":"tools/call","params":{"uri":"a","uri":"b","name":"step_simulation"}}"#,
            br#"{"method":"tools/list","method":"tools/call","params":{}}"#,
            br#"{"method":"initialize","params":{"name":7}}"#,
            br#"[{"method":"tools/call"}]"#,
        ] {
            let peek = Peek::at(odd);
            assert!(
                peek.called() == Some(Called::Any) && peek.opens(),
                "{}",
                String::from_utf8_lossy(odd)
            );
        }
        for none in [&b"{}"[..], b"", b"{", br#"{"method":"tools/list","params":{}}"#] {
            assert_eq!(Peek::at(none).called(), None);
        }
    }

    #[test]
    fn everybody_may_do_everything_where_nobody_is_asked() {
        let local = Principal::local();
        for call in [
            &br#"{"method":"tools/call","params":{"name":"terminate_process"}}"#[..],
            br#"{"method":"resources/read","params":{"uri":"pool://stats"}}"#,
            br#"{"method":"tools/call","params":{"name":7}}"#,
        ] {
            assert_eq!(Peek::at(call).lacking(&local), None);
        }
    }
}
