"""The other half of tests/tests/it/menagerie.rs: the same files, in the official `mujoco` package.

`menagerie.py FOLDER NAME...` loads FOLDER/NAME/ENTRY from its path, steps it 1000 times under the
controls that it starts with, and tells where it is and what it was warned of.
"""

import json
import os
import pathlib
import struct
import sys
import tempfile

import mujoco

STEPS = 1000


def bits(values) -> list[str]:
    return [struct.pack(">d", value).hex() for value in values]


def run(path: pathlib.Path) -> dict:
    with tempfile.TemporaryFile() as said:
        # The engine warns on the process's own standard error.
        stderr = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            model = mujoco.MjModel.from_xml_path(str(path))
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        said.seek(0)
        loading = said.read().decode()
    data = mujoco.MjData(model)
    warned = set()
    for _ in range(STEPS):
        mujoco.mj_step(model, data)
        # A reset of its own makes the engine forget.
        for kind in range(mujoco.mjtWarning.mjNWARNING):
            if data.warning[kind].number:
                warned.add(mujoco.mjtWarning(kind).name.removeprefix("mjWARN_").lower())
    return {
        "nq": model.nq,
        "nv": model.nv,
        "nu": model.nu,
        "qpos": bits(data.qpos),
        "qvel": bits(data.qvel),
        "said": loading,
        "warned": sorted(warned),
    }


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    index = json.loads((folder / "INDEX.json").read_text())
    print(json.dumps({name: run(folder / name / index[name]["entry"]) for name in sys.argv[2:]}))
