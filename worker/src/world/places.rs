//! The places and things that a client names: where they are, and how they move with the joints.

use mujoco_rs::wrappers::mj_model::{MjModel, MjtJoint, MjtObjBase};
use nalgebra::DMatrix;
use simward_protocol::analysis::Place;
use simward_protocol::fault::Fault;

use super::names::{self, Kind};
use super::scratch::Scratch;

/// A place of a model that was found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spot {
    Site(usize),
    /// A body, and a point in its frame.
    Body(usize, [f64; 3]),
}

impl Spot {
    pub(crate) fn find(model: &MjModel, field: &str, place: &Place) -> Result<Self, Fault> {
        match place {
            Place { site: Some(site), body: None, point: None } => {
                Ok(Self::Site(names::find(model, Kind::Site, site)?))
            }
            Place { body: Some(body), site: None, point } => {
                let point = point.unwrap_or_default();
                if let Some(at) = point.iter().position(|value| !value.is_finite()) {
                    let (field, at) = (format!("{field}.point"), format!("value {at}"));
                    return Err(Fault::NotFinite { field, at });
                }
                Ok(Self::Body(names::find(model, Kind::Body, body)?, point))
            }
            _ => Err(Fault::Argument {
                detail: format!(
                    "`{field}` needs either a body, perhaps with a point in its frame, or a site: \
                     {{\"body\": \"hand\"}} or {{\"site\": \"tip\"}}"
                ),
            }),
        }
    }

    /// The body that it is part of.
    pub(crate) fn body(self, model: &MjModel) -> usize {
        match self {
            Self::Site(site) => index(model.site_bodyid()[site]),
            Self::Body(body, _) => body,
        }
    }

    /// Where it is in world coordinates.
    pub(crate) fn position(self, data: &Scratch<'_>) -> [f64; 3] {
        match self {
            Self::Site(site) => data.site_xpos()[site],
            Self::Body(body, point) => {
                let turned = turn(&data.xmat()[body], point);
                let origin = data.xpos()[body];
                std::array::from_fn(|axis| origin[axis] + turned[axis])
            }
        }
    }

    /// Its rotation matrix, by rows.
    pub(crate) fn rotation(self, data: &Scratch<'_>) -> [f64; 9] {
        match self {
            Self::Site(site) => data.site_xmat()[site],
            Self::Body(body, _) => data.xmat()[body],
        }
    }

    /// Its Jacobian: how it moves and how it turns with the velocities, three rows of nv each.
    pub(crate) fn jacobian(self, data: &Scratch<'_>) -> (Vec<f64>, Vec<f64>) {
        let point = self.position(data);
        let body = self.body(data.model());
        data.jac(true, true, &point, body)
    }
}

/// A vector of a frame in world coordinates, by the frame's rotation matrix.
pub(crate) fn turn(rotation: &[f64; 9], vector: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|row| (0..3).map(|axis| rotation[3 * row + axis] * vector[axis]).sum())
}

/// Some columns of a matrix that is given by rows.
pub(crate) fn columns(rows: &[f64], width: usize, chosen: &[usize]) -> DMatrix<f64> {
    let height = rows.len().checked_div(width).unwrap_or(0);
    DMatrix::from_fn(height, chosen.len(), |row, column| rows[row * width + chosen[column]])
}

/// The name of a degree of freedom: its joint's, with a number where the joint has several.
pub(crate) fn dof_name(model: &MjModel, dof: usize) -> String {
    let joint = index(model.dof_jntid()[dof]);
    let name = names::of(model, MjtObjBase::mjOBJ_JOINT, joint);
    match model.jnt_type()[joint] {
        MjtJoint::mjJNT_FREE | MjtJoint::mjJNT_BALL => {
            format!("{name}:{}", dof - index(model.jnt_dofadr()[joint]))
        }
        MjtJoint::mjJNT_SLIDE | MjtJoint::mjJNT_HINGE => name,
    }
}

/// The indices that names stand for; all, where none is named. At most `items_max`, and how many
/// were left out.
pub(crate) fn chosen(
    model: &MjModel,
    kind: Kind,
    names: &[String],
    items_max: u32,
) -> Result<(Vec<usize>, u32), Fault> {
    let items_max = items_max as usize;
    let count = if names.is_empty() { kind.count(model) } else { names.len() };
    let found = if names.is_empty() {
        (0..count.min(items_max)).collect()
    } else {
        let names = names.iter().take(items_max);
        names.map(|name| names::find(model, kind, name)).collect::<Result<_, _>>()?
    };
    Ok((found, cut(count, items_max)))
}

/// How many of so many are left out.
pub(crate) fn cut(count: usize, items_max: usize) -> u32 {
    u32::try_from(count.saturating_sub(items_max)).unwrap_or(u32::MAX)
}

/// An index that the engine gives. It has none that is negative where we ask.
pub(crate) fn index(value: i32) -> usize {
    usize::try_from(value).unwrap_or(0)
}
