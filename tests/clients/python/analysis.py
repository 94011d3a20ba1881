"""What the official `mujoco` package says of a model in a state.

Brings one of the models that `make setup` fetches into motion, then sets the state that it is in
into fresh data, and prints that state and what the package computes of it. The tests in
tests/tests/it/{observation,analysis}.rs set the same state through the daemon and want the same
numbers.

    python3 analysis.py MODEL

Prints one line of JSON; numbers are written so that they read back to the same bits.
"""

import json
import math
import pathlib
import sys

import mujoco
import numpy as np

MODELS = pathlib.Path(__file__).resolve().parents[3] / "third_party" / "models"

STEPS = 300
RAYS = 24


def name_of(model: mujoco.MjModel, kind: mujoco.mjtObj, index: int) -> str:
    return mujoco.mj_id2name(model, kind, index) or f"#{index}"


def moved(model: mujoco.MjModel) -> mujoco.MjData:
    """Fresh data, in the state that the model is in after some steps under uneven controls."""
    data = mujoco.MjData(model)
    for step in range(STEPS):
        for control in range(model.nu):
            low, high = (-1.0, 1.0)
            if model.actuator_ctrllimited[control]:
                low, high = model.actuator_ctrlrange[control]
            share = 0.5 + 0.3 * math.sin(0.01 * step + control)
            data.ctrl[control] = low + (high - low) * share
        mujoco.mj_step(model, data)
    fresh = mujoco.MjData(model)
    fresh.qpos[:], fresh.qvel[:], fresh.ctrl[:] = data.qpos, data.qvel, data.ctrl
    if model.na:
        fresh.act[:] = data.act
    return fresh


def bodies(model, data) -> list:
    found = []
    for body in range(model.nbody):
        velocity = np.zeros(6)
        kind = mujoco.mjtObj.mjOBJ_XBODY
        mujoco.mj_objectVelocity(model, data, kind, body, velocity, 0)
        found.append({
            "name": name_of(model, mujoco.mjtObj.mjOBJ_BODY, body),
            "position_m": data.xpos[body].tolist(),
            "quaternion": data.xquat[body].tolist(),
            "linear_velocity_m_per_s": velocity[3:].tolist(),
            "angular_velocity_rad_per_s": velocity[:3].tolist(),
            "com_m": data.xipos[body].tolist(),
        })
    return found


def contacts(model, data) -> list:
    found = []
    for number in range(data.ncon):
        contact, force = data.contact[number], np.zeros(6)
        mujoco.mj_contactForce(model, data, number, force)
        geoms = [name_of(model, mujoco.mjtObj.mjOBJ_GEOM, geom) for geom in contact.geom]
        found.append({
            "geoms": geoms,
            "position_m": contact.pos.tolist(),
            "normal": contact.frame[:3].tolist(),
            "depth_m": -contact.dist,
            "normal_force_n": force[0],
            "friction_force_n": math.hypot(force[1], force[2]),
            "force_n": (contact.frame.reshape(3, 3).T @ force[:3]).tolist(),
        })
    return found


def forces(model, data) -> dict:
    inertial = np.zeros(model.nv)
    mujoco.mj_mulM(model, data, inertial, data.qacc)
    rest = mujoco.MjData(model)
    rest.qpos[:] = data.qpos
    mujoco.mj_forward(model, rest)
    return {
        "actuator": data.qfrc_actuator.tolist(),
        "passive": data.qfrc_passive.tolist(),
        "constraint": data.qfrc_constraint.tolist(),
        "bias": data.qfrc_bias.tolist(),
        "gravity": rest.qfrc_bias.tolist(),
        "inertial": inertial.tolist(),
    }


def jacobian(model, data) -> dict:
    """Of the last body's centre of mass, given as a point in its frame."""
    body = model.nbody - 1
    point = model.body_ipos[body]
    world = data.xpos[body] + data.xmat[body].reshape(3, 3) @ point
    jacp, jacr = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    mujoco.mj_jac(model, data, jacp, jacr, world, body)
    moving = np.flatnonzero(np.abs(np.vstack([jacp, jacr])).sum(axis=0))
    jacp, jacr = jacp[:, moving], jacr[:, moving]
    values = np.linalg.svd(np.vstack([jacp, jacr]), compute_uv=False)
    return {
        "body": name_of(model, mujoco.mjtObj.mjOBJ_BODY, body),
        "point": point.tolist(),
        "dof_indices": moving.tolist(),
        "jacp": jacp.tolist(),
        "jacr": jacr.tolist(),
        "singular_values": values.tolist(),
    }


def linear(model, data) -> dict:
    states = 2 * model.nv + model.na
    a, b = np.zeros((states, states)), np.zeros((states, model.nu))
    mujoco.mjd_transitionFD(model, data, 1e-6, True, a, b, None, None)
    radius = max(abs(np.linalg.eigvals(a)))
    return {"a": a.tolist(), "b": b.tolist(), "spectral_radius": float(radius)}


def rays(model, data) -> list:
    centre, found = data.subtree_com[0], []
    for number in range(RAYS):
        turn, height = 2.4 * number, -0.9 + 1.8 * number / RAYS
        flat = math.sqrt(1 - height * height)
        out = np.array([flat * math.cos(turn), flat * math.sin(turn), height])
        origin, geom, normal = centre + 2 * out, np.zeros(1, np.int32), np.zeros(3)
        # The same direction as ours, of length 1 to the last bit.
        direction = -out
        direction = direction / math.sqrt(sum(float(v) * float(v) for v in direction))
        distance = mujoco.mj_ray(model, data, origin, direction, None, 1, -1, geom, normal)
        hit = None
        if geom[0] >= 0:
            geom = name_of(model, mujoco.mjtObj.mjOBJ_GEOM, int(geom[0]))
            hit = {"geom": geom, "distance_m": distance, "normal": normal.tolist()}
        found.append({"origin": origin.tolist(), "direction": (-out).tolist(), "hit": hit})
    return found


def distances(model, data) -> list:
    found = []
    for one in range(0, model.ngeom, max(1, model.ngeom // 6)):
        for other in range(one + 1, model.ngeom, max(1, model.ngeom // 5)):
            ends = np.zeros(6)
            distance = mujoco.mj_geomDistance(model, data, one, other, 100.0, ends)
            found.append({
                "from": f"#{one}",
                "to": f"#{other}",
                "distance_m": distance,
                "from_point_m": ends[:3].tolist(),
                "to_point_m": ends[3:].tolist(),
            })
    return found


def boxes(model, data) -> list:
    """For each body the corners of the box around its own geoms, from the corners of theirs."""
    found = []
    for body in range(model.nbody):
        corners = []
        for geom in np.flatnonzero(model.geom_bodyid == body):
            if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_PLANE:
                continue
            centre, half = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
            signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
            rotation = data.geom_xmat[geom].reshape(3, 3)
            corners.append(data.geom_xpos[geom] + (centre + signs * half) @ rotation.T)
        if not corners:
            found.append(None)
            continue
        corners = np.vstack(corners)
        found.append({"min_m": corners.min(0).tolist(), "max_m": corners.max(0).tolist()})
    return found


def run(name: str) -> dict:
    entry = json.loads((MODELS / "INDEX.json").read_text())[name]["entry"]
    model = mujoco.MjModel.from_xml_path(str(MODELS / entry))
    data = moved(model)
    state = {part: getattr(data, part).tolist() for part in ("qpos", "qvel", "ctrl", "act")}
    # Before anything is derived: derivation moves the solver's warm start.
    lines = linear(model, data)
    mujoco.mj_resetData(model, data)
    for part, values in state.items():
        if values:
            getattr(data, part)[:] = values
    mujoco.mj_forward(model, data)
    mujoco.mj_energyPos(model, data)
    mujoco.mj_energyVel(model, data)
    return {
        "state": {part: values for part, values in state.items() if values},
        "bodies": bodies(model, data),
        "sensordata": data.sensordata.tolist(),
        "contacts": contacts(model, data),
        "energy": data.energy.tolist(),
        "forces": forces(model, data),
        "jacobian": jacobian(model, data),
        "linear": lines,
        "rays": rays(model, data),
        "distances": distances(model, data),
        "boxes": boxes(model, data),
    }


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1])))
