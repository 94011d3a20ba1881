//! The promises of the rota, against whatever may happen.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn bounds(concurrent_max: usize, waiting_max: usize, waiting_per_tenant_max: usize) -> Bounds {
    Bounds { concurrent_max, waiting_max, waiting_per_tenant_max, patience: Duration::ZERO }
}

fn tenant(number: usize) -> Tenant {
    Tenant::named(&format!("tenant {number}"))
}

/// A rota, and what an observer has seen of it.
struct Observed {
    rota: Rota,
    bounds: Bounds,
    /// In the order in which they came.
    waiting: Vec<(usize, Ticket)>,
    running: Vec<(usize, Ticket)>,
    /// For each tenant who waits for its first turn: how often others had theirs in the meantime.
    overtaken: BTreeMap<usize, BTreeMap<usize, usize>>,
    granted: BTreeSet<Ticket>,
}

impl Observed {
    fn new(bounds: Bounds) -> Self {
        let rota = Rota::new(&bounds);
        let (waiting, running, overtaken) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { rota, bounds, waiting, running, overtaken, granted: BTreeSet::new() }
    }

    fn running_of(&self, who: usize) -> usize {
        self.running.iter().filter(|(it, _)| *it == who).count()
    }

    fn waits(&self, who: usize) -> bool {
        self.waiting.iter().any(|(it, _)| *it == who)
    }

    fn arrive(&mut self, who: usize) {
        let is_first = self.running_of(who) == 0 && !self.waits(who);
        match self.rota.arrive(&tenant(who)) {
            Ok(Arrival::Runs(ticket)) => {
                assert!(self.waiting.is_empty());
                self.running.push((who, ticket));
                assert!(self.granted.insert(ticket));
            }
            Ok(Arrival::Waits(ticket)) => {
                assert_eq!(self.running.len(), self.bounds.concurrent_max);
                self.waiting.push((who, ticket));
                if is_first {
                    self.overtaken.insert(who, BTreeMap::new());
                }
            }
            Err(Full::All { max }) => assert_eq!(max, self.waiting.len()),
            Err(Full::Tenant { max }) => {
                assert_eq!(max, self.waiting.iter().filter(|(it, _)| *it == who).count());
            }
        }
        self.check();
    }

    fn end(&mut self, place: usize) {
        let (who, ticket) = self.running.remove(place);
        let next = self.rota.leave(&tenant(who), ticket);
        assert_eq!(next.is_some(), !self.waiting.is_empty());
        if let Some(next) = next {
            self.granted(next);
        }
        self.check();
    }

    fn granted(&mut self, ticket: Ticket) {
        let place = self.waiting.iter().position(|(_, it)| *it == ticket).unwrap();
        let (who, _) = self.waiting.remove(place);
        let earlier = self.waiting.iter().any(|(it, other)| *it == who && *other < ticket);
        assert!(!earlier, "first come, first served");
        for (other, _) in &self.waiting {
            assert!(self.running_of(who) <= self.running_of(*other), "more than its share");
        }
        for overtaken in self.overtaken.iter_mut().filter(|(it, _)| **it != who) {
            let count = overtaken.1.entry(who).or_default();
            *count += 1;
            assert!(*count <= 1, "overtaken twice by one tenant");
        }
        self.overtaken.remove(&who);
        self.running.push((who, ticket));
        assert!(self.granted.insert(ticket), "granted twice");
    }

    fn give_up(&mut self, place: usize) {
        let (who, ticket) = self.waiting.remove(place);
        assert_eq!(self.rota.leave(&tenant(who), ticket), None);
        if !self.waits(who) {
            self.overtaken.remove(&who);
        }
        self.check();
    }

    fn check(&self) {
        let Counts { running, waiting } = self.rota.counts();
        assert_eq!((running, waiting), (self.running.len(), self.waiting.len()));
        assert!(running <= self.bounds.concurrent_max && waiting <= self.bounds.waiting_max);
        assert!(waiting == 0 || running == self.bounds.concurrent_max, "an idle turn");
    }
}

#[derive(Clone, Debug)]
enum Event {
    Arrive(usize),
    End(prop::sample::Index),
    GiveUp(prop::sample::Index),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..5usize).prop_map(Event::Arrive),
        // One who asks for much.
        3 => Just(Event::Arrive(0)),
        4 => any::<prop::sample::Index>().prop_map(Event::End),
        1 => any::<prop::sample::Index>().prop_map(Event::GiveUp),
    ]
}

proptest! {
    #[test]
    fn turns_are_fair_bounded_and_never_lost(
        concurrent in 1..5usize,
        waiting in 0..20usize,
        of_each in 0..10usize,
        events in prop::collection::vec(event(), 0..300),
    ) {
        let mut observed = Observed::new(bounds(concurrent, waiting, of_each));
        for event in events {
            match event {
                Event::Arrive(who) => observed.arrive(who),
                Event::End(place) if !observed.running.is_empty() => {
                    observed.end(place.index(observed.running.len()));
                }
                Event::GiveUp(place) if !observed.waiting.is_empty() => {
                    observed.give_up(place.index(observed.waiting.len()));
                }
                Event::End(_) | Event::GiveUp(_) => {}
            }
        }
        // Everybody who still waits has a turn in the end.
        while !observed.running.is_empty() {
            observed.end(0);
        }
        prop_assert!(observed.waiting.is_empty());
        prop_assert!(observed.rota.tenants.is_empty() && observed.rota.ring.is_empty());
    }
}

#[test]
fn a_thousand_of_one_tenant_delay_anothers_first_by_one_turn() {
    let mut observed = Observed::new(bounds(4, 2000, 1000));
    for _ in 0..1004 {
        observed.arrive(0);
    }
    observed.arrive(1);
    observed.arrive(2);
    observed.end(0);
    assert_eq!(observed.running_of(1), 1);
    observed.end(0);
    assert_eq!(observed.running_of(2), 1);
    observed.end(0);
    assert_eq!(observed.running_of(0), 2);
}

#[test]
fn who_has_long_turns_does_not_collect_them() {
    let mut observed = Observed::new(bounds(4, 100, 100));
    for who in [0, 0, 1, 1] {
        observed.arrive(who);
    }
    for _ in 0..10 {
        observed.arrive(0);
        observed.arrive(1);
    }
    // Only the second's turns ever end, and yet the first never has more than half.
    for _ in 0..8 {
        let place = observed.running.iter().position(|(who, _)| *who == 1).unwrap();
        observed.end(place);
        assert_eq!(observed.running_of(0), 2);
    }
}
