//! Watching for a condition while a simulation advances.
//!
//! Names are looked up once; after each step only numbers are compared.

use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::{MjModel, MjtObjBase};
use simward_protocol::condition::{Condition, Quantity};
use simward_protocol::fault::Fault;

use super::names::{self, Kind};
use super::simulation::Simulation;
use super::values::Target;

type Data = MjData<Box<MjModel>>;

/// A condition whose names were found.
pub(crate) struct Watch {
    root: Node,
    needs: Needs,
}

/// What must be derived of the new state before it is looked at.
#[derive(Clone, Copy, Default)]
struct Needs {
    positions: bool,
    velocities: bool,
    energy: bool,
}

enum Node {
    Any(Vec<Self>),
    All(Vec<Self>),
    Leaf(Leaf),
}

struct Leaf {
    what: What,
    magnitude: bool,
    above: f64,
    below: f64,
    for_secs: f64,
    /// Since when it is true.
    since_secs: Option<f64>,
}

/// A quantity, by its place in the engine's arrays.
enum What {
    Time,
    Qpos(std::ops::Range<usize>, usize),
    Qvel(std::ops::Range<usize>, usize),
    Sensor(std::ops::Range<usize>, usize),
    BodyPosition(usize, usize),
    BodySpeed(usize),
    Contact { one: Option<Party>, other: Option<Party>, forces: bool },
    Energy { kinetic: bool, potential: bool },
    MaxVelocity,
}

/// One side of a contact.
#[derive(Clone, Copy)]
enum Party {
    Body(usize),
    Geom(usize),
}

impl Watch {
    /// Looks up what a condition names.
    pub(crate) fn new(model: &MjModel, condition: &Condition) -> Result<Self, Fault> {
        condition
            .check()
            .map_err(|problem| Fault::Invalid { field: "stop_when".into(), problem })?;
        let mut needs = Needs::default();
        let root = node(model, condition, &mut needs)?;
        Ok(Self { root, needs })
    }

    /// Whether the condition is met after the step that was just taken.
    ///
    /// Positions, velocities and energy are those of the new state; sensors and contacts are what
    /// the step has computed, at its beginning. Only what the next step derives anew is touched.
    pub(crate) fn is_met(&mut self, simulation: &mut Simulation) -> bool {
        let data = &mut simulation.data;
        if self.needs.positions {
            data.kinematics();
            data.com_pos();
        }
        if self.needs.energy {
            data.crb_comp();
            data.make_m();
            data.energy_pos();
            data.energy_vel();
        }
        if self.needs.velocities {
            data.com_vel();
        }
        let time_secs = data.time();
        self.root.is_met(data, time_secs)
    }
}

impl Node {
    fn is_met(&mut self, data: &Data, time_secs: f64) -> bool {
        // All of them are looked at: each counts for how long it is true.
        match self {
            Self::Any(nodes) => {
                nodes.iter_mut().fold(false, |met, node| met | node.is_met(data, time_secs))
            }
            Self::All(nodes) => {
                nodes.iter_mut().fold(true, |met, node| met & node.is_met(data, time_secs))
            }
            Self::Leaf(leaf) => leaf.is_met(data, time_secs),
        }
    }
}

impl Leaf {
    fn is_met(&mut self, data: &Data, time_secs: f64) -> bool {
        let value = self.value(data);
        if !(self.above < value && value < self.below) {
            self.since_secs = None;
            return false;
        }
        // Time may have gone back with an automatic reset.
        let since = self.since_secs.filter(|since| *since <= time_secs).unwrap_or(time_secs);
        self.since_secs = Some(since);
        self.for_secs <= time_secs - since
    }

    fn value(&self, data: &Data) -> f64 {
        let among = |values: &[f64], span: &std::ops::Range<usize>, component: usize| {
            if self.magnitude && 1 < span.len() {
                norm(&values[span.clone()])
            } else {
                values[span.start + component]
            }
        };
        let value = match &self.what {
            What::Time => data.time(),
            What::Qpos(span, component) => among(data.qpos(), span, *component),
            What::Qvel(span, component) => among(data.qvel(), span, *component),
            What::Sensor(span, component) => among(data.sensordata(), span, *component),
            What::BodyPosition(body, _) if self.magnitude => norm(&data.xpos()[*body]),
            What::BodyPosition(body, component) => data.xpos()[*body][*component],
            What::BodySpeed(body) => {
                let velocity = data.object_velocity(MjtObjBase::mjOBJ_BODY, *body, false);
                norm(&velocity[3..])
            }
            What::Contact { one, other, forces } => contacts(data, *one, *other, *forces),
            What::Energy { kinetic, potential } => {
                let [of_place, of_motion] = *data.energy();
                let part = |wanted: bool, joules: f64| if wanted { joules } else { 0.0 };
                part(*potential, of_place) + part(*kinetic, of_motion)
            }
            What::MaxVelocity => data.qvel().iter().fold(0.0, |most, v| v.abs().max(most)),
        };
        if self.magnitude { value.abs() } else { value }
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

fn contacts(data: &Data, one: Option<Party>, other: Option<Party>, forces: bool) -> f64 {
    let model = data.model();
    let is_of = |party: Option<Party>, geom: i32| match party {
        None => true,
        Some(Party::Geom(wanted)) => usize::try_from(geom) == Ok(wanted),
        Some(Party::Body(wanted)) => usize::try_from(geom)
            .is_ok_and(|geom| usize::try_from(model.geom_bodyid()[geom]) == Ok(wanted)),
    };
    let touching = data.contact().iter().enumerate().filter(|(_, contact)| {
        let [a, b] = contact.geom;
        (is_of(one, a) && is_of(other, b)) || (is_of(one, b) && is_of(other, a))
    });
    if forces {
        touching.map(|(index, _)| data.contact_force(index)[0]).sum()
    } else {
        #[expect(clippy::cast_precision_loss, reason = "contacts are few")]
        let count = touching.count() as f64;
        count
    }
}

fn node(model: &MjModel, condition: &Condition, needs: &mut Needs) -> Result<Node, Fault> {
    let mut nodes = |inner: &[Condition]| -> Result<Vec<Node>, Fault> {
        inner.iter().map(|inner| node(model, inner, needs)).collect()
    };
    match condition.quantity {
        Some(quantity) => leaf(model, condition, quantity, needs).map(Node::Leaf),
        None if condition.all.is_empty() => Ok(Node::Any(nodes(&condition.any)?)),
        None => Ok(Node::All(nodes(&condition.all)?)),
    }
}

fn leaf(
    model: &MjModel,
    condition: &Condition,
    quantity: Quantity,
    needs: &mut Needs,
) -> Result<Leaf, Fault> {
    let name = condition.name.as_deref().unwrap_or_default();
    let what = match quantity {
        Quantity::Time => What::Time,
        Quantity::JointPosition | Quantity::JointVelocity => {
            let joint = names::find(model, Kind::Joint, name)?;
            let is_position = quantity == Quantity::JointPosition;
            let target = if is_position { Target::Qpos } else { Target::Qvel };
            let (begin, count) = target.of_joint(model, joint);
            let component = component(condition, count)?;
            let span = begin..begin + count;
            if is_position { What::Qpos(span, component) } else { What::Qvel(span, component) }
        }
        Quantity::Sensor => {
            let sensor = names::find(model, Kind::Sensor, name)?;
            let begin = usize::try_from(model.sensor_adr()[sensor]).unwrap_or(0);
            let count = usize::try_from(model.sensor_dim()[sensor]).unwrap_or(0);
            What::Sensor(begin..begin + count, component(condition, count)?)
        }
        Quantity::BodyPosition => {
            needs.positions = true;
            What::BodyPosition(names::find(model, Kind::Body, name)?, component(condition, 3)?)
        }
        Quantity::BodySpeed => {
            (needs.positions, needs.velocities) = (true, true);
            What::BodySpeed(names::find(model, Kind::Body, name)?)
        }
        Quantity::ContactForce | Quantity::ContactCount => What::Contact {
            one: party(model, condition.name.as_deref())?,
            other: party(model, condition.other.as_deref())?,
            forces: quantity == Quantity::ContactForce,
        },
        Quantity::KineticEnergy | Quantity::PotentialEnergy | Quantity::TotalEnergy => {
            (needs.positions, needs.energy) = (true, true);
            What::Energy {
                kinetic: quantity != Quantity::PotentialEnergy,
                potential: quantity != Quantity::KineticEnergy,
            }
        }
        Quantity::MaxVelocity => What::MaxVelocity,
    };
    Ok(Leaf {
        what,
        magnitude: condition.magnitude,
        above: condition.above.unwrap_or(f64::NEG_INFINITY),
        below: condition.below.unwrap_or(f64::INFINITY),
        for_secs: condition.for_secs,
        since_secs: None,
    })
}

fn component(condition: &Condition, count: usize) -> Result<usize, Fault> {
    let component = condition.component as usize;
    if component < count {
        return Ok(component);
    }
    let (field, value) = ("component".to_owned(), f64::from(condition.component));
    #[expect(clippy::cast_precision_loss, reason = "only for the message")]
    let max = count.saturating_sub(1) as f64;
    Err(Fault::OutOfRange { field, value, min: 0.0, max })
}

/// A body's name goes before a geom's.
fn party(model: &MjModel, name: Option<&str>) -> Result<Option<Party>, Fault> {
    let Some(name) = name else { return Ok(None) };
    if let Ok(body) = names::find(model, Kind::Body, name) {
        return Ok(Some(Party::Body(body)));
    }
    names::find(model, Kind::Geom, name).map(Party::Geom).map(Some)
}
