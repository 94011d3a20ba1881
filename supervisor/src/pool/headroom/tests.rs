//! The levels, at and between their thresholds.

use proptest::prelude::*;

use super::*;

fn sample(available_permille: u64, pressure: impl Into<Option<f64>>) -> Sample {
    Sample {
        memory_available_bytes: available_permille,
        memory_total_bytes: 1000,
        cpu_pressure_ratio: pressure.into(),
    }
}

fn with_cpu() -> Config {
    Config { cpu_full_ratio: 0.95, ..Config::default() }
}

#[test]
fn memory_gets_worse_at_once_and_better_with_a_distance() {
    let mut headroom = Headroom::new(Config::default());
    let steps = [
        (400, Level::Plenty),
        (150, Level::Plenty),
        (149, Level::Tight),
        (179, Level::Tight),
        (181, Level::Plenty),
        (71, Level::Tight),
        (69, Level::Full),
        (99, Level::Full),
        (101, Level::Tight),
        (30, Level::Full),
        (900, Level::Plenty),
    ];
    for (available, level) in steps {
        assert_eq!(headroom.look(sample(available, None)), level, "{available}");
        assert_eq!(headroom.state().level(), level);
    }
}

#[test]
fn processors_are_full_only_when_they_have_been_for_a_while() {
    let mut headroom = Headroom::new(with_cpu());
    assert_eq!(headroom.look(sample(900, 0.5)), Level::Plenty);
    assert_eq!(headroom.look(sample(900, 1.0)), Level::Plenty);
    let looks = (0..100).find(|_| headroom.look(sample(900, 1.0)) == Level::Full);
    assert!(looks.is_some_and(|looks| looks < 10));
    // The kernel may stop telling, or tell nonsense.
    assert_eq!(headroom.look(sample(900, f64::NAN)), Level::Plenty);
    assert_eq!(headroom.look(sample(900, 0.96)), Level::Full);
    assert_eq!(headroom.look(sample(900, None)), Level::Plenty);
}

#[test]
fn processors_are_never_full_unless_asked_for() {
    let mut headroom = Headroom::new(Config::default());
    assert_eq!(headroom.look(sample(900, 1.0)), Level::Plenty);
    assert_eq!(headroom.state().cpu_pressure_ratio, Some(1.0));
}

#[test]
fn a_configuration_may_name_some_and_no_others() {
    let config: Config = toml::from_str("memory_tight_ratio = 0.2").unwrap();
    assert_eq!(config, Config { memory_tight_ratio: 0.2, ..Config::default() });
    toml::from_str::<Config>("memory_tihgt_ratio = 0.2").unwrap_err();
}

/// A history, which leads to any state that there is.
fn history() -> impl Strategy<Value = Headroom> {
    let looks = prop::collection::vec((0..=1000u64, prop::option::of(0.0..=1.0)), 0..20);
    looks.prop_map(|looks| {
        let mut headroom = Headroom::new(with_cpu());
        for (available, pressure) in looks {
            headroom.look(sample(available, pressure));
        }
        headroom
    })
}

proptest! {
    #[test]
    fn within_the_distance_the_level_changes_once_at_most(
        headroom in history(),
        around in prop::sample::select(vec![(70..100u64), (150..180u64)]),
        places in prop::collection::vec(any::<prop::sample::Index>(), 1..50),
    ) {
        let mut headroom = headroom;
        let mut available = places.iter().map(|it| around.start + it.index(30) as u64);
        headroom.look(sample(available.next().unwrap(), 0.0));
        let memory = headroom.state().memory;
        for available in available {
            headroom.look(sample(available, 0.0));
            prop_assert_eq!(headroom.state().memory, memory);
        }
    }

    #[test]
    fn processors_do_not_flap_within_the_distance(
        headroom in history(),
        pressures in prop::collection::vec(0.8501..0.95, 1..50),
    ) {
        let mut headroom = headroom;
        // Long enough within it, whatever was before is forgotten.
        for _ in 0..60 {
            headroom.look(sample(900, 0.9));
        }
        let cpu = headroom.state().cpu;
        for pressure in pressures {
            headroom.look(sample(900, pressure));
            prop_assert_eq!(headroom.state().cpu, cpu);
        }
    }

    #[test]
    fn more_room_is_never_a_worse_level(
        headroom in history(),
        available in (0..=1000u64, 0..=1000u64),
        pressure in (0.0..=1.0_f64, 0.0..=1.0_f64),
    ) {
        let (mut better, mut worse) = (headroom.clone(), headroom);
        let more = sample(available.0.max(available.1), pressure.0.min(pressure.1));
        let less = sample(available.0.min(available.1), pressure.0.max(pressure.1));
        prop_assert!(better.look(more) <= worse.look(less));
    }

    #[test]
    fn any_numbers_give_a_level(
        memory_available_bytes: u64,
        memory_total_bytes: u64,
        pressure: Option<f64>,
    ) {
        let mut headroom = Headroom::new(with_cpu());
        let cpu_pressure_ratio = pressure;
        headroom.look(Sample { memory_available_bytes, memory_total_bytes, cpu_pressure_ratio });
        prop_assert!(headroom.state().memory_available_ratio >= 0.0);
    }
}
