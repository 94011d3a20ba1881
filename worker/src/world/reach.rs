//! Inverse kinematics: joint positions that bring a place where it shall be.
//!
//! Damped least squares (Levenberg 1944, Marquardt 1963; for manipulators Wampler 1986, Nakamura
//! and Hanafusa 1986), with joints at the end of their range held there, and a walk in the null
//! space towards a posture (Liégeois 1977) that never leaves the goal.

use std::time::Instant;

use nalgebra::{DMatrix, DVector, Quaternion, UnitQuaternion, Vector3};
use simward_protocol::fault::Fault;
use simward_protocol::motion::SolveIk;

use super::chain::Chain;
use super::linear;
use super::places::{Spot, columns, turn};
use super::random::Random;
use super::scratch::Scratch;
use super::values::in_range;
use crate::pulse::Pulse;

/// Iterations of one attempt.
const ITERATIONS_MAX: u32 = 300;
/// Iterations of the walk towards the posture, and of each return to the goal.
const WALK_MAX: u32 = 200;
const RETURN_MAX: u32 = 10;
/// The bounds of the squared damping; beyond the upper one there is no way down.
const DAMPING: (f64, f64) = (1e-12, 1e8);
/// The largest motion of one iteration, in radians or metres, so that no attempt jumps about.
const STRIDE_MAX: f64 = 1.0;
/// A walk towards the posture ends with steps that short.
const WALK_MIN: f64 = 1e-7;
/// By how much an iteration must come nearer to count.
const GAIN: f64 = 1e-9;

/// What a place shall come to.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    pub(crate) spot: Spot,
    position: Option<Vector3<f64>>,
    turning: Option<Turning>,
    /// How near is near enough, in metres and radians.
    near: (f64, f64),
}

#[derive(Clone, Debug)]
enum Turning {
    Whole(UnitQuaternion<f64>),
    /// An axis in the place's frame, and its direction in the world.
    Axis(Vector3<f64>, Vector3<f64>),
}

/// How far a place is from its goal: metres and radians.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distance {
    pub(crate) position: f64,
    pub(crate) rotation: f64,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) qpos: Vec<f64>,
    pub(crate) distance: Distance,
    pub(crate) iterations: u32,
    pub(crate) attempts: u32,
}

impl Goal {
    pub(crate) fn new(spot: Spot, call: &SolveIk) -> Result<Self, Fault> {
        let near = (call.position_tolerance_m, call.rotation_tolerance_rad);
        in_range("position_tolerance_m", near.0, SolveIk::TOLERANCE)?;
        in_range("rotation_tolerance_rad", near.1, SolveIk::TOLERANCE)?;
        let position =
            call.goal.position.map(|position| finite("position", position)).transpose()?;
        let turning = match (call.goal.quaternion, call.goal.align) {
            (Some(_), Some(_)) => {
                let detail = "give either `quaternion` or `align`, not both".to_owned();
                return Err(Fault::Argument { detail });
            }
            (Some(quaternion), None) => Some(Turning::Whole(unit_quaternion(quaternion)?)),
            (None, Some(align)) => {
                let axis = unit("align.axis", align.axis)?;
                Some(Turning::Axis(axis, unit("align.to", align.to)?))
            }
            (None, None) => None,
        };
        if position.is_none() && turning.is_none() {
            let detail = "there is no goal: give `position`, `quaternion` or `align`".to_owned();
            return Err(Fault::Argument { detail });
        }
        Ok(Self { spot, position, turning, near })
    }

    /// Whether that is near enough.
    pub(crate) fn is_reached(&self, distance: Distance) -> bool {
        distance.position <= self.near.0 && distance.rotation <= self.near.1
    }

    /// Which of the two distances mean something.
    pub(crate) fn asks_for(&self) -> (bool, bool) {
        (self.position.is_some(), self.turning.is_some())
    }

    /// What is missing to the goal, as rows of metres and radians, and how far that is.
    fn error(&self, data: &Scratch<'_>) -> (DVector<f64>, Distance) {
        let mut rows = Vec::with_capacity(6);
        let mut distance = Distance { position: 0.0, rotation: 0.0 };
        if let Some(position) = self.position {
            let missing = position - Vector3::from(self.spot.position(data));
            distance.position = missing.norm();
            rows.extend_from_slice(missing.as_slice());
        }
        if let Some(turning) = &self.turning {
            let missing = turning.missing(&self.spot.rotation(data));
            distance.rotation = missing.norm();
            rows.extend_from_slice(missing.as_slice());
        }
        (DVector::from_vec(rows), distance)
    }

    /// How those rows change with the chain's velocities, with the sign turned.
    pub(crate) fn jacobian(&self, data: &Scratch<'_>, chain: &Chain) -> DMatrix<f64> {
        let nv = data.qvel().len();
        let dofs: Vec<usize> = chain.dofs().collect();
        let (moves, turns) = self.spot.jacobian(data);
        let moves = self.position.map(|_| columns(&moves, nv, &dofs));
        let turns = self
            .turning
            .as_ref()
            .map(|turning| turning.visible(columns(&turns, nv, &dofs), &self.spot.rotation(data)));
        match (moves, turns) {
            (Some(moves), Some(turns)) => linear::stacked(&moves, &turns),
            (Some(rows), None) | (None, Some(rows)) => rows,
            (None, None) => DMatrix::zeros(0, dofs.len()),
        }
    }
}

impl Turning {
    /// The rotation that is missing, as a vector along its axis, in radians.
    fn missing(&self, rotation: &[f64; 9]) -> Vector3<f64> {
        match self {
            Self::Whole(goal) => (goal * quaternion_of(rotation).inverse()).scaled_axis(),
            Self::Axis(axis, goal) => {
                let now = Vector3::from(turn(rotation, (*axis).into()));
                let across = now.cross(goal);
                let angle = across.norm().atan2(now.dot(goal));
                match across.try_normalize(1e-12) {
                    Some(about) => about * angle,
                    None if angle < 1.0 => Vector3::zeros(),
                    // It points the other way: any axis across leads there.
                    None => any_across(&now) * angle,
                }
            }
        }
    }

    /// What of some turning the goal sees: not a turn about the axis itself.
    fn visible(&self, turns: DMatrix<f64>, rotation: &[f64; 9]) -> DMatrix<f64> {
        match self {
            Self::Whole(_) => turns,
            Self::Axis(axis, _) => {
                let now = Vector3::from(turn(rotation, (*axis).into()));
                let across = nalgebra::Matrix3::identity() - now * now.transpose();
                DMatrix::from_fn(3, turns.ncols(), |row, column| {
                    (0..3).map(|at| across[(row, at)] * turns[(at, column)]).sum()
                })
            }
        }
    }
}

/// One search, on a copy of the data.
pub(crate) struct Search<'a, 'm> {
    pub(crate) data: &'a mut Scratch<'m>,
    pub(crate) chain: &'a Chain,
    pub(crate) goal: &'a Goal,
    pub(crate) pulse: &'a Pulse,
    pub(crate) until: Instant,
    pub(crate) iterations: u32,
}

/// Where an attempt has come to.
struct Place {
    qpos: Vec<f64>,
    error: DVector<f64>,
    distance: Distance,
}

impl Search<'_, '_> {
    /// Searches from `start` and, as long as that fails, from positions by chance.
    pub(crate) fn run(
        mut self,
        start: &[f64],
        posture: Option<&[f64]>,
        restarts: u32,
        random: &mut Random,
    ) -> Result<Found, Fault> {
        let mut begin = start.to_vec();
        self.chain.clamp(&mut begin);
        let mut best = self.descend(begin, ITERATIONS_MAX)?;
        let mut attempts = 1;
        while !self.goal.is_reached(best.distance) && attempts <= restarts && !self.is_late() {
            let mut begin = start.to_vec();
            self.chain.scatter(&mut begin, random);
            let place = self.descend(begin, ITERATIONS_MAX)?;
            attempts += 1;
            // Metres and radians add up in the norm, and are apart in the goal.
            if self.goal.is_reached(place.distance) || place.error.norm() < best.error.norm() {
                best = place;
            }
        }
        if let Some(posture) = posture
            && self.goal.is_reached(best.distance)
        {
            best = self.walk(best, posture)?;
        }
        let Place { qpos, distance, .. } = best;
        Ok(Found { qpos, distance, iterations: self.iterations, attempts })
    }

    fn is_late(&self) -> bool {
        self.until <= Instant::now()
    }

    /// Goes down from there as far as it comes.
    fn descend(&mut self, qpos: Vec<f64>, iterations_max: u32) -> Result<Place, Fault> {
        let mut place = self.look(qpos)?;
        let mut damping = 1e-3;
        for _ in 0..iterations_max {
            // A little nearer than near enough, so that what reads it back finds it reached.
            let is_there = place.distance.position <= self.goal.near.0 / 2.0
                && place.distance.rotation <= self.goal.near.1 / 2.0;
            if is_there || DAMPING.1 < damping || self.is_late() {
                break;
            }
            let Some(step) = self.step(&place, damping) else { break };
            let next = self.look(self.moved(&place.qpos, &step))?;
            if next.error.norm() < place.error.norm() * (1.0 - GAIN) {
                damping = (damping / 8.0).max(DAMPING.0);
                place = next;
            } else {
                damping *= 4.0;
                // The Jacobian is that of where it stands.
                self.set(&place.qpos);
            }
        }
        Ok(place)
    }

    /// The step of least squares; the data must be where the place is.
    fn step(&self, place: &Place, damping: f64) -> Option<DVector<f64>> {
        let jacobian = self.goal.jacobian(self.data, self.chain);
        let downhill = jacobian.transpose() * &place.error;
        let jacobian = self.unblocked(jacobian, &place.qpos, &downhill);
        let step = linear::damped_least_squares(&jacobian, &place.error, damping)?;
        let longest = step.amax();
        Some(if STRIDE_MAX < longest { step * (STRIDE_MAX / longest) } else { step })
    }

    /// A Jacobian without the joints that a direction would lead out of their range.
    fn unblocked(
        &self,
        mut jacobian: DMatrix<f64>,
        qpos: &[f64],
        direction: &DVector<f64>,
    ) -> DMatrix<f64> {
        for number in 0..jacobian.ncols() {
            if self.chain.is_blocked(number, qpos, direction[number]) {
                jacobian.column_mut(number).fill(0.0);
            }
        }
        jacobian
    }

    /// Goes towards a posture without leaving the goal.
    fn walk(&mut self, mut place: Place, posture: &[f64]) -> Result<Place, Fault> {
        let mut stride = 1.0;
        let mut left = self.left(&place.qpos, posture);
        for _ in 0..WALK_MAX {
            if self.is_late() {
                break;
            }
            self.set(&place.qpos);
            let jacobian = self.goal.jacobian(self.data, self.chain);
            let free = DMatrix::identity(left.len(), left.len());
            let free = self.unblocked(free, &place.qpos, &left) * &left;
            let Some(step) = linear::in_null_space(&jacobian, &free) else { break };
            let step = step * stride;
            if step.amax() < WALK_MIN {
                break;
            }
            let there = self.moved(&place.qpos, &step);
            let back = self.descend(there, RETURN_MAX)?;
            let left_there = self.left(&back.qpos, posture);
            if self.goal.is_reached(back.distance) && left_there.norm() < left.norm() * (1.0 - GAIN)
            {
                (place, left) = (back, left_there);
                stride = f64::min(1.0, stride * 2.0);
            } else {
                stride /= 2.0;
            }
        }
        Ok(place)
    }

    /// The way from positions to a posture, of the chain's degrees of freedom.
    fn left(&self, qpos: &[f64], posture: &[f64]) -> DVector<f64> {
        let way = self.data.model().differentiate_pos(1.0, qpos, posture);
        DVector::from_iterator(self.chain.dofs_total(), self.chain.dofs().map(|dof| way[dof]))
    }

    fn moved(&self, qpos: &[f64], step: &DVector<f64>) -> Vec<f64> {
        let mut velocities = vec![0.0; self.data.qvel().len()];
        self.chain.dofs().zip(step.iter()).for_each(|(dof, value)| velocities[dof] = *value);
        let mut moved = qpos.to_vec();
        self.data.model().integrate_pos(&mut moved, &velocities, 1.0);
        self.chain.clamp(&mut moved);
        moved
    }

    fn set(&mut self, qpos: &[f64]) {
        self.data.qpos_mut().copy_from_slice(qpos);
        self.data.kinematics();
        self.data.com_pos();
    }

    fn look(&mut self, qpos: Vec<f64>) -> Result<Place, Fault> {
        if self.pulse.current_is_cancelled() {
            return Err(Fault::Cancelled);
        }
        self.pulse.rested();
        self.iterations += 1;
        self.set(&qpos);
        let (error, distance) = self.goal.error(self.data);
        if !error.iter().all(|value| value.is_finite()) {
            let (field, at) = ("the pose of the place".to_owned(), "one of its values".to_owned());
            return Err(Fault::NotFinite { field, at });
        }
        Ok(Place { qpos, error, distance })
    }
}

fn finite(field: &str, vector: [f64; 3]) -> Result<Vector3<f64>, Fault> {
    super::values::check(field, |at| format!("value {at}"), &vector, 1e6)?;
    Ok(vector.into())
}

fn unit(field: &str, vector: [f64; 3]) -> Result<Vector3<f64>, Fault> {
    let vector = finite(field, vector)?;
    vector.try_normalize(1e-9).ok_or_else(|| Fault::Invalid {
        field: field.to_owned(),
        problem: "it is too short to have a direction".to_owned(),
    })
}

fn unit_quaternion([w, x, y, z]: [f64; 4]) -> Result<UnitQuaternion<f64>, Fault> {
    super::values::check("quaternion", |at| format!("value {at}"), &[w, x, y, z], 1e6)?;
    UnitQuaternion::try_new(Quaternion::new(w, x, y, z), 1e-9).ok_or_else(|| Fault::Invalid {
        field: "quaternion".to_owned(),
        problem: "it is 0; no rotation is [1, 0, 0, 0]".to_owned(),
    })
}

fn quaternion_of(rotation: &[f64; 9]) -> UnitQuaternion<f64> {
    let matrix = nalgebra::Matrix3::from_row_slice(rotation);
    UnitQuaternion::from_rotation_matrix(&nalgebra::Rotation3::from_matrix_unchecked(matrix))
}

/// Some unit vector across another.
fn any_across(vector: &Vector3<f64>) -> Vector3<f64> {
    let least = vector.iamin();
    let mut other = Vector3::zeros();
    other[least] = 1.0;
    vector.cross(&other).normalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPRIGHT: [f64; 9] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];

    #[test]
    fn a_missing_rotation_is_a_vector_along_its_axis() {
        let goal = UnitQuaternion::from_scaled_axis(Vector3::new(0.0, 0.3, 0.0));
        let missing = Turning::Whole(goal).missing(&UPRIGHT);
        assert!((missing - Vector3::new(0.0, 0.3, 0.0)).norm() < 1e-12, "{missing}");
        let axis = Turning::Axis(Vector3::z(), Vector3::x()).missing(&UPRIGHT);
        assert!((axis.norm() - std::f64::consts::FRAC_PI_2).abs() < 1e-12);
    }

    #[test]
    fn an_axis_that_points_the_other_way_is_turned_by_half_a_turn() {
        let missing = Turning::Axis(Vector3::z(), -Vector3::z()).missing(&UPRIGHT);
        assert!((missing.norm() - std::f64::consts::PI).abs() < 1e-12);
        assert!(missing.z.abs() < 1e-12);
        assert_eq!(Turning::Axis(Vector3::z(), Vector3::z()).missing(&UPRIGHT), Vector3::zeros());
    }

    #[test]
    fn a_turn_about_the_axis_itself_is_not_seen() {
        let turns = DMatrix::identity(3, 3);
        let seen = Turning::Axis(Vector3::z(), Vector3::x()).visible(turns, &UPRIGHT);
        assert!(seen.column(2).norm() < 1e-15);
        assert!((seen.column(0).norm() - 1.0).abs() < 1e-15);
    }
}
