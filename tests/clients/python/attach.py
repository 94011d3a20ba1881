"""What the official `mujoco` package makes of a model that is attached to another one.

    python3 attach.py MODEL SITE CHILD PREFIX

Both are models that `make setup` fetches. Prints one line of JSON: the sizes of what comes of it,
the names of its joints and actuators, and the state after 200 steps from the first keyframe, where
a number is the 16 hexadecimal digits of its bits.
"""

import json
import os
import pathlib
import struct
import sys
import tempfile

import mujoco

MODELS = pathlib.Path(__file__).resolve().parents[3] / "third_party" / "models"

SIZES = ["nq", "nv", "nu", "nbody", "njnt", "ngeom", "nsite", "nsensor", "nkey"]
STEPS = 200


def bits(values) -> list[str]:
    return [struct.pack(">d", value).hex() for value in values]


def spec(name: str) -> mujoco.MjSpec:
    entry = json.loads((MODELS / "INDEX.json").read_text())[name]["entry"]
    return mujoco.MjSpec.from_file(str(MODELS / entry))


def run(parent: str, site: str, child: str, prefix: str) -> dict:
    base = spec(parent)
    base.attach(spec(child), prefix=prefix, site=base.site(site))
    model = base.compile()
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    for _ in range(STEPS):
        mujoco.mj_step(model, data)
    return {
        "sizes": {size: int(getattr(model, size)) for size in SIZES},
        "joints": [model.joint(index).name for index in range(model.njnt)],
        "actuators": [model.actuator(index).name for index in range(model.nu)],
        "qpos": bits(data.qpos),
        "qvel": bits(data.qvel),
    }


if __name__ == "__main__":
    # The package writes a log of its warnings wherever it is.
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        print(json.dumps(run(*sys.argv[1:])))
