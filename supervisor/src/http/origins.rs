//! Where requests may come from: host names under which clients may call, and browser pages that may.
//!
//! A page that a browser has from elsewhere must reach nothing here, whatever name it has found for
//! this machine's address.

use http::request::Parts;
use http::{HeaderMap, HeaderName, header};

/// The loopback address's names: everybody's who is on this machine.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// What the configuration allows, beside the loopback address.
#[derive(Debug)]
pub(super) struct Origins {
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Origins {
    pub(super) fn new(hosts: &[String], origins: &[String]) -> Self {
        let small = |texts: &[String]| texts.iter().map(|text| text.to_ascii_lowercase()).collect();
        Self { hosts: small(hosts), origins: small(origins) }
    }

    /// Why a request may not come from where it comes from.
    pub(super) fn refuse(&self, head: &Parts) -> Option<&'static str> {
        // A request line with a whole address says more than the header.
        let host = match head.uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => only(&head.headers, &header::HOST),
        };
        let Some(host) = host.map(str::to_ascii_lowercase) else {
            return Some("a request has one Host header");
        };
        if !self.is_own(&host) {
            return Some("this host is none under which clients may call (http.allowed_hosts)");
        }
        if !head.headers.contains_key(header::ORIGIN) {
            return None;
        }
        let origin = only(&head.headers, &header::ORIGIN).map(str::to_ascii_lowercase);
        let may = origin.is_some_and(|origin| self.may(&origin));
        (!may).then_some("pages from this origin may not call (http.allowed_origins)")
    }

    /// An entry with a port is for that port alone.
    fn is_own(&self, host: &str) -> bool {
        let name = without_port(host);
        LOOPBACK.contains(&name) || self.hosts.iter().any(|own| own == name || own == host)
    }

    /// An entry that ends with `:*` is for every port.
    fn may(&self, origin: &str) -> bool {
        if origin.strip_prefix("http://").is_some_and(|at| LOOPBACK.contains(&without_port(at))) {
            return true;
        }
        self.origins.iter().any(|allowed| match allowed.strip_suffix(":*") {
            Some(any_port) => without_port(origin) == any_port,
            None => allowed == origin,
        })
    }
}

/// The one value of a header.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lets_in(uri: &str, headers: &[(&str, &str)]) -> bool {
        let hosts = ["sim.example".to_owned(), "Lab.Example:8443".to_owned()];
        let origins = ["https://lab.example".to_owned(), "http://dev.example:*".to_owned()];
        let mut request = http::Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        Origins::new(&hosts, &origins).refuse(&head).is_none()
    }

    #[test]
    fn clients_call_under_names_that_are_ours() {
        for host in
            ["127.0.0.1:7700", "[::1]:7700", "localhost", "SIM.example:1", "lab.example:8443"]
        {
            assert!(lets_in("/mcp", &[("host", host)]), "{host}");
        }
        for host in
            ["evil.example", "evil.example:7700", "localhost.evil.example", "lab.example", ""]
        {
            assert!(!lets_in("/mcp", &[("host", host)]), "{host}");
        }
        assert!(!lets_in("/mcp", &[]));
        assert!(!lets_in("/mcp", &[("host", "localhost"), ("host", "evil.example")]));
        assert!(!lets_in("http://evil.example/mcp", &[("host", "localhost")]));
    }

    #[test]
    fn pages_from_elsewhere_may_not_call() {
        for origin in [
            "http://localhost:3000",
            "http://[::1]:3000",
            "https://lab.example",
            "http://dev.example",
            "http://dev.example:8080",
        ] {
            assert!(lets_in("/mcp", &[("host", "localhost"), ("origin", origin)]), "{origin}");
        }
        for origin in [
            "https://evil.example",
            "https://lab.example:8443",
            "https://lab.example.evil.example",
            "http://localhost.evil.example",
            "http://dev.example:80.evil.example",
            "null",
            "",
        ] {
            assert!(!lets_in("/mcp", &[("host", "localhost"), ("origin", origin)]), "{origin}");
        }
        let two = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "null")];
        assert!(!lets_in("/mcp", &two));
    }
}
