//! A path of joints through time. It knows nothing of MuJoCo.

use simward_protocol::motion::Profile;

/// The largest velocity and acceleration of `10 τ³ - 15 τ⁴ + 6 τ⁵`, of a way and a time of 1.
const JERK_VELOCITY: f64 = 1.875;
const JERK_ACCELERATION: f64 = 5.773_502_691_896_257;

/// The part of a stretch that a trapezoid of a given time speeds up in, and slows down in.
const RAMP: f64 = 1.0 / 3.0;

/// The largest velocity and acceleration of a joint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) velocity: f64,
    pub(crate) acceleration: f64,
}

/// A path, at rest at both ends and at each waypoint.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    stretches: Vec<Stretch>,
}

#[derive(Clone, Debug)]
struct Stretch {
    begin_secs: f64,
    duration_secs: f64,
    from: Vec<f64>,
    way: Vec<f64>,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    MinimumJerk,
    /// How long it speeds up, in parts of the stretch's time; and it slows down as long.
    Trapezoid(f64),
}

/// Where the joints are at a time, how fast, and how that changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Moment {
    pub(crate) positions: Vec<f64>,
    pub(crate) velocities: Vec<f64>,
    pub(crate) accelerations: Vec<f64>,
}

impl Path {
    /// A path that begins somewhere.
    pub(crate) fn new() -> Self {
        Self { stretches: Vec::new() }
    }

    /// Goes on to other positions. Without a time it takes the shortest within the rates; with one
    /// that is shorter it tells that.
    pub(crate) fn go(
        &mut self,
        from: Vec<f64>,
        to: &[f64],
        profile: Profile,
        rates: Rates,
        duration_secs: Option<f64>,
    ) -> Result<(), f64> {
        let way: Vec<f64> = to.iter().zip(&from).map(|(to, from)| to - from).collect();
        let longest = way.iter().fold(0.0, |longest: f64, way| longest.max(way.abs()));
        let (shortest, shape) = shortest(longest, profile, rates);
        let (duration_secs, shape) = match duration_secs {
            None => (shortest, shape),
            // As long as told, up to what rounding makes of it.
            Some(secs) if shortest <= secs * (1.0 + 1e-9) => {
                (secs, stretched(longest, secs, shape, rates))
            }
            Some(_) => return Err(shortest),
        };
        let begin_secs = self.duration_secs();
        self.stretches.push(Stretch { begin_secs, duration_secs, from, way, shape });
        Ok(())
    }

    pub(crate) fn duration_secs(&self) -> f64 {
        self.stretches.last().map_or(0.0, Stretch::end_secs)
    }

    /// When each stretch ends.
    pub(crate) fn ends(&self) -> impl Iterator<Item = f64> {
        self.stretches.iter().map(Stretch::end_secs)
    }

    /// The path at a time; after its end it stays there.
    pub(crate) fn at(&self, secs: f64, moment: &mut Moment) {
        let after = self.stretches.partition_point(|stretch| stretch.end_secs() < secs);
        let Some(stretch) = self.stretches.get(after).or_else(|| self.stretches.last()) else {
            return;
        };
        let duration = stretch.duration_secs;
        let share = if duration <= 0.0 { 1.0 } else { (secs - stretch.begin_secs) / duration };
        let (way, velocity, acceleration) = stretch.shape.at(share.clamp(0.0, 1.0));
        let rate = if duration <= 0.0 { 0.0 } else { 1.0 / duration };
        moment.positions.clear();
        let begun = stretch.from.iter().zip(&stretch.way);
        moment.positions.extend(begun.map(|(from, all)| way.mul_add(*all, *from)));
        moment.velocities.clear();
        moment.velocities.extend(stretch.way.iter().map(|all| all * velocity * rate));
        moment.accelerations.clear();
        moment.accelerations.extend(stretch.way.iter().map(|all| all * acceleration * rate * rate));
    }

    /// The largest velocity and acceleration of each joint.
    pub(crate) fn peaks(&self, joints: usize) -> Vec<(f64, f64)> {
        let mut peaks = vec![(0.0_f64, 0.0_f64); joints];
        for stretch in self.stretches.iter().filter(|stretch| 0.0 < stretch.duration_secs) {
            let (velocity, acceleration) = stretch.shape.peaks();
            let rate = 1.0 / stretch.duration_secs;
            for (peak, way) in peaks.iter_mut().zip(&stretch.way) {
                peak.0 = peak.0.max(way.abs() * velocity * rate);
                peak.1 = peak.1.max(way.abs() * acceleration * rate * rate);
            }
        }
        peaks
    }
}

impl Stretch {
    fn end_secs(&self) -> f64 {
        self.begin_secs + self.duration_secs
    }
}

impl Shape {
    /// Which part of the way is behind at a part of the time, and its first and second derivative.
    fn at(self, share: f64) -> (f64, f64, f64) {
        match self {
            Self::MinimumJerk => {
                let rest = 1.0 - share;
                let way = share * share * share * (10.0 + share * (6.0 * share - 15.0));
                (way, 30.0 * share * share * rest * rest, 60.0 * share * rest * (rest - share))
            }
            Self::Trapezoid(ramp) => {
                let (velocity, acceleration) = self.peaks();
                let rest = 1.0 - share;
                if share < ramp {
                    (acceleration * share * share / 2.0, acceleration * share, acceleration)
                } else if rest < ramp {
                    (1.0 - acceleration * rest * rest / 2.0, acceleration * rest, -acceleration)
                } else {
                    (velocity * (share - ramp / 2.0), velocity, 0.0)
                }
            }
        }
    }

    /// The largest derivatives.
    fn peaks(self) -> (f64, f64) {
        match self {
            Self::MinimumJerk => (JERK_VELOCITY, JERK_ACCELERATION),
            Self::Trapezoid(ramp) => (1.0 / (1.0 - ramp), 1.0 / (ramp * (1.0 - ramp))),
        }
    }
}

/// The shortest time for a way, and how it is run through then.
fn shortest(way: f64, profile: Profile, rates: Rates) -> (f64, Shape) {
    match profile {
        Profile::MinimumJerk => {
            let by_velocity = JERK_VELOCITY * way / rates.velocity;
            let by_acceleration = (JERK_ACCELERATION * way / rates.acceleration).sqrt();
            (by_velocity.max(by_acceleration), Shape::MinimumJerk)
        }
        Profile::Trapezoid if way == 0.0 => (0.0, Shape::Trapezoid(RAMP)),
        Profile::Trapezoid => {
            let ramp_secs = rates.velocity / rates.acceleration;
            if way <= rates.velocity * ramp_secs {
                // It never comes to its largest velocity.
                let half = (way / rates.acceleration).sqrt();
                return (2.0 * half, Shape::Trapezoid(0.5));
            }
            let secs = way / rates.velocity + ramp_secs;
            (secs, Shape::Trapezoid(ramp_secs / secs))
        }
    }
}

/// How a way is run through in more time than the shortest: speeding up for a third of it if the
/// rates allow, or for as long as they need.
fn stretched(way: f64, secs: f64, shape: Shape, rates: Rates) -> Shape {
    let Shape::Trapezoid(_) = shape else { return shape };
    // The least ramp within the acceleration, r (1 - r) = way / (a T²), and the most within the
    // velocity, 1 / (1 - r) = v T / way.
    let product = way / (rates.acceleration * secs * secs);
    let least = (1.0 - (1.0 - 4.0 * product).max(0.0).sqrt()) / 2.0;
    let most = (1.0 - way / (rates.velocity * secs)).clamp(0.0, 0.5);
    Shape::Trapezoid(RAMP.min(most).max(least).max(1e-6))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(profile: Profile, rates: Rates, secs: Option<f64>) -> Path {
        let mut path = Path::new();
        path.go(vec![0.5, -1.0], &[1.5, -3.0], profile, rates, secs).unwrap();
        path.go(vec![1.5, -3.0], &[1.5, -2.9], profile, rates, None).unwrap();
        path
    }

    fn at(path: &Path, secs: f64) -> Moment {
        let mut moment = Moment::default();
        path.at(secs, &mut moment);
        moment
    }

    proptest! {
        #[test]
        fn a_path_keeps_its_rates_rests_at_its_waypoints_and_is_its_own_integral(
            velocity in 0.1..10.0_f64, acceleration in 0.1..50.0_f64, trapezoid: bool,
            longer in prop::option::of(1.0..5.0_f64),
        ) {
            let profile = if trapezoid { Profile::Trapezoid } else { Profile::MinimumJerk };
            let rates = Rates { velocity, acceleration };
            let (least, _) = shortest(2.0, profile, rates);
            let path = path(profile, rates, longer.map(|factor| factor * least));
            let ends: Vec<f64> = path.ends().collect();
            prop_assert!((ends[0] - least * longer.unwrap_or(1.0)).abs() < 1e-9 * ends[0]);
            prop_assert_eq!(at(&path, ends[1] + 1.0).positions, vec![1.5, -2.9]);
            let whole = path.duration_secs();
            let small = whole * 1e-6;
            for share in 0..=200 {
                let secs = whole * f64::from(share) / 200.0;
                let (moment, next) = (at(&path, secs), at(&path, secs + small));
                for joint in 0..2 {
                    let slack = 1.0 + 1e-9;
                    prop_assert!(moment.velocities[joint].abs() <= velocity * slack);
                    prop_assert!(moment.accelerations[joint].abs() <= acceleration * slack);
                    let moved = next.positions[joint] - moment.positions[joint];
                    let told = f64::midpoint(moment.velocities[joint], next.velocities[joint]) * small;
                    prop_assert!((moved - told).abs() <= acceleration * small * small + 1e-12);
                }
            }
            for (number, end) in ends.iter().enumerate() {
                let rest = at(&path, *end);
                prop_assert!(rest.velocities.iter().all(|value| value.abs() < 1e-9), "{number}");
            }
            let peaks = path.peaks(2);
            prop_assert!(peaks[1].0 <= velocity * (1.0 + 1e-9) && 0.0 < peaks[1].0);
        }
    }

    #[test]
    fn the_shortest_trapezoid_is_as_fast_as_it_may() {
        let rates = Rates { velocity: 1.0, acceleration: 2.0 };
        let (secs, shape) = shortest(2.0, Profile::Trapezoid, rates);
        assert_eq!((secs, shape), (2.5, Shape::Trapezoid(0.2)));
        let (secs, shape) = shortest(0.125, Profile::Trapezoid, rates);
        assert_eq!((secs, shape), (0.5, Shape::Trapezoid(0.5)));
    }

    #[test]
    fn too_short_a_time_is_refused_with_the_shortest() {
        let rates = Rates { velocity: 1.0, acceleration: 100.0 };
        let mut path = Path::new();
        let least = path.go(vec![0.0], &[1.0], Profile::MinimumJerk, rates, Some(1.0));
        assert_eq!(least, Err(1.875));
        assert!(path.duration_secs() <= 0.0);
    }

    #[test]
    fn a_path_that_leads_nowhere_takes_no_time() {
        let rates = Rates { velocity: 1.0, acceleration: 1.0 };
        for profile in [Profile::MinimumJerk, Profile::Trapezoid] {
            let mut path = Path::new();
            path.go(vec![0.5], &[0.5], profile, rates, None).unwrap();
            assert_eq!(at(&path, 0.0).positions, [0.5]);
            assert_eq!(at(&path, 3.0).velocities, [0.0]);
        }
    }
}
