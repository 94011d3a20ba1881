//! Ports are leases.
//!
//! The supervisor binds and listens itself and hands the listening socket to the worker, so there
//! is no moment between "is it free" and "it is mine". A returned port rests, so that a late
//! client of one tenant does not reach another's session.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::code::Code;

/// Which ports there are, and when a session gets one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// First and last port, such as `8001-9000`.
    pub range: Range,
    /// The address that sessions listen on.
    pub address: IpAddr,
    /// Whether a session gets its port when it is created, or when somebody asks for it.
    pub lease: When,
    /// How long a returned port rests, in seconds.
    pub rest_secs: f64,
}

/// When a session gets its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// When it is created.
    AtCreation,
    /// At the first `get_session_info` that asks for it.
    OnDemand,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            range: Range { first: 8001, last: 9000 },
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            lease: When::AtCreation,
            rest_secs: 3.0,
        }
    }
}

/// First and last port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range {
    /// The first port.
    pub first: u16,
    /// The last port, which belongs to the range.
    pub last: u16,
}

impl Range {
    /// How many ports.
    pub fn count(self) -> usize {
        usize::from(self.last - self.first) + 1
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.to_string()
    }
}

impl TryFrom<String> for Range {
    type Error = RangeError;

    fn try_from(text: String) -> Result<Self, RangeError> {
        text.parse()
    }
}

impl std::str::FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let wrong = || RangeError(text.to_owned());
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        let first = first.trim().parse().map_err(|_not_a_port| wrong())?;
        let last = last.trim().parse().map_err(|_not_a_port| wrong())?;
        if first == 0 || last < first { Err(wrong()) } else { Ok(Self { first, last }) }
    }
}

/// Not a range of ports.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a range of ports such as `8001-9000`")]
pub struct RangeError(String);

/// No port can be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// All are leased, resting, or taken by other programs.
    #[error(
        "no port is free in {range}: {leased} are leased, {resting} rest, and {foreign} are taken \
         by other programs"
    )]
    Exhausted {
        /// The range.
        range: Range,
        /// Ports of sessions.
        leased: usize,
        /// Ports that rest.
        resting: usize,
        /// Ports that other programs hold.
        foreign: usize,
        /// How long until one has rested.
        retry_after: Duration,
    },
    /// The machine says no for another reason.
    #[error("a port could not be opened")]
    Bind(#[source] io::Error),
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Exhausted { .. } => "ports_exhausted",
            Self::Bind(_) => "port_unavailable",
        }
    }

    fn hint(&self) -> Option<String> {
        Some("close sessions that are not needed, or widen pool.ports.range".to_owned())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Exhausted { retry_after, .. } => Some(*retry_after),
            Self::Bind(_) => None,
        }
    }
}

/// A cheap handle to the table of ports.
#[derive(Clone, Debug)]
pub struct Ports {
    address: IpAddr,
    range: Range,
    rota: Arc<Mutex<Rota>>,
}

/// A port that is ours, listening. It rests once this is dropped.
#[derive(Debug)]
pub struct Lease {
    /// The port.
    pub port: u16,
    /// Its socket, which listens.
    pub listener: Arc<TcpListener>,
    rota: Arc<Mutex<Rota>>,
}

/// How many ports are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All in the range.
    pub total: usize,
    /// Leased to sessions.
    pub leased: usize,
    /// Returned, and not yet to be leased again.
    pub resting: usize,
}

impl Ports {
    pub(super) fn new(config: &Config) -> Self {
        let rest = Duration::from_secs_f64(config.rest_secs);
        let rota = Arc::new(Mutex::new(Rota::new(config.range, rest)));
        Self { address: config.address, range: config.range, rota }
    }

    /// The range.
    pub fn range(&self) -> Range {
        self.range
    }

    /// Leases a port, listening.
    pub fn lease(&self) -> Result<Lease, Error> {
        let mut foreign = 0;
        // Held while binding, which does not wait: two leases must not try the same port.
        let mut rota = self.rota.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        for _ in 0..self.range.count() {
            let Some(port) = rota.take(now) else { break };
            match TcpListener::bind(SocketAddr::new(self.address, port)) {
                Ok(listener) => {
                    let (listener, rota) = (Arc::new(listener), Arc::clone(&self.rota));
                    return Ok(Lease { port, listener, rota });
                }
                Err(error) => {
                    rota.leave(port);
                    if error.kind() != io::ErrorKind::AddrInUse {
                        return Err(Error::Bind(error));
                    }
                    foreign += 1;
                }
            }
        }
        let Counts { leased, resting, .. } = rota.counts(now);
        let retry_after = rota.next_rested(now).unwrap_or(Duration::from_secs(3));
        Err(Error::Exhausted { range: self.range, leased, resting, foreign, retry_after })
    }

    /// How many ports are in which state.
    pub fn counts(&self) -> Counts {
        self.rota.lock().unwrap_or_else(PoisonError::into_inner).counts(Instant::now())
    }
}

impl Lease {
    /// Where clients find the session.
    pub fn url(&self) -> String {
        let address = self.listener.local_addr();
        address.map_or_else(|_| String::new(), |address| format!("http://{address}"))
    }
}

impl Lease {
    /// A copy of the listening socket, to be handed to a worker.
    pub fn socket(&self) -> Result<OwnedFd, Error> {
        Ok(self.listener.try_clone().map_err(Error::Bind)?.into())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Whoever waits in the backlog hears that nobody is there any more.
        rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both).ok();
        let mut rota = self.rota.lock().unwrap_or_else(PoisonError::into_inner);
        rota.give_back(self.port, Instant::now());
    }
}

/// Whose turn it is: the policy, without sockets and clocks.
#[derive(Debug)]
struct Rota {
    range: Range,
    rest: Duration,
    next: u16,
    leased: BTreeSet<u16>,
    /// When each returned port has rested.
    resting: BTreeMap<u16, Instant>,
}

impl Rota {
    fn new(range: Range, rest: Duration) -> Self {
        let (leased, resting) = (BTreeSet::new(), BTreeMap::new());
        Self { range, rest, next: range.first, leased, resting }
    }

    /// The next port whose turn it is, now leased.
    fn take(&mut self, now: Instant) -> Option<u16> {
        self.resting.retain(|_, rested| now < *rested);
        for _ in 0..self.range.count() {
            let port = self.next;
            self.next = if port == self.range.last { self.range.first } else { port + 1 };
            if !self.resting.contains_key(&port) && self.leased.insert(port) {
                return Some(port);
            }
        }
        None
    }

    /// Another program has it.
    fn leave(&mut self, port: u16) {
        self.leased.remove(&port);
    }

    fn give_back(&mut self, port: u16, now: Instant) {
        if self.leased.remove(&port) {
            self.resting.insert(port, now + self.rest);
        }
    }

    fn next_rested(&self, now: Instant) -> Option<Duration> {
        self.resting.values().min().map(|rested| rested.saturating_duration_since(now))
    }

    fn counts(&self, now: Instant) -> Counts {
        let resting = self.resting.values().filter(|rested| now < **rested).count();
        Counts { total: self.range.count(), leased: self.leased.len(), resting }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_range_is_two_ports() {
        assert_eq!("8001-9000".parse::<Range>().unwrap().count(), 1000);
        for wrong in ["", "8001", "9000-8001", "0-10", "1-70000", "a-b"] {
            assert!(wrong.parse::<Range>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_port_of_another_program_is_passed_over() {
        let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
        let first = foreign.local_addr().unwrap().port();
        let range = Range { first, last: first };
        let ports = Ports::new(&Config { range, ..Config::default() });
        let error = ports.lease().unwrap_err();
        assert!(matches!(error, Error::Exhausted { foreign: 1, leased: 0, .. }), "{error:?}");
        assert!(error.retry_after().is_some());
    }

    proptest! {
        #[test]
        fn no_port_is_leased_twice_and_a_returned_one_rests(
            moves in prop::collection::vec((any::<bool>(), 0_usize..8, 0_u64..1500), 1..300)
        ) {
            let rest = Duration::from_secs(3);
            let mut rota = Rota::new(Range { first: 8001, last: 8008 }, rest);
            let mut now = Instant::now();
            let mut held: Vec<u16> = Vec::new();
            let mut returned: BTreeMap<u16, Instant> = BTreeMap::new();
            for (take, which, millis) in moves {
                now += Duration::from_millis(millis);
                if take {
                    let Some(port) = rota.take(now) else { continue };
                    prop_assert!(!held.contains(&port));
                    if let Some(at) = returned.get(&port) {
                        prop_assert!(rest <= now - *at);
                    }
                    held.push(port);
                } else if !held.is_empty() {
                    let port = held.swap_remove(which % held.len());
                    rota.give_back(port, now);
                    returned.insert(port, now);
                }
                prop_assert_eq!(rota.counts(now).leased, held.len());
            }
        }
    }
}
