"""What others make of recordings: NumPy and the csv module read exports, and the official `mujoco`
package steps the same model. tests/tests/it/recordings.rs wants the same bits.

    python3 recordings.py csv FILE
    python3 recordings.py npz FILE
    python3 recordings.py reference MODEL STEPS

Prints one line of JSON: an object of lists by name, one for each column of a CSV file, for each
array of an NPZ file (row after row), or for each vector of `mjData` right after each step. A number
is the 16 hexadecimal digits of its bits.
"""

import csv
import json
import pathlib
import struct
import sys

MODELS = pathlib.Path(__file__).resolve().parents[3] / "third_party" / "models"


def bits(values) -> list[str]:
    return [struct.pack(">d", value).hex() for value in values]


def read_csv(path: str) -> dict[str, list[str]]:
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    columns = zip(*rows[1:])
    return {name: bits(map(float, column)) for name, column in zip(rows[0], columns)}


def read_npz(path: str) -> dict[str, list[str]]:
    import numpy

    with numpy.load(path, allow_pickle=False) as arrays:
        rows = {len(array) for array in arrays.values()}
        assert len(rows) == 1, rows
        return {name: bits(map(float, arrays[name].ravel())) for name in arrays}


def reference(name: str, steps: int) -> dict[str, list[str]]:
    import mujoco

    entry = json.loads((MODELS / "INDEX.json").read_text())[name]["entry"]
    model = mujoco.MjModel.from_xml_path(str(MODELS / entry))
    data = mujoco.MjData(model)
    parts = ["qpos", "qvel", "qacc", "actuator_force", "sensordata", "xpos", "xquat"]
    columns: dict[str, list[str]] = {part: [] for part in ["time_secs", *parts]}
    data.ctrl[:] = 0.1
    for _ in range(steps):
        mujoco.mj_step(model, data)
        columns["time_secs"] += bits([data.time])
        for part in parts:
            columns[part] += bits(getattr(data, part).ravel())
    return columns


def main() -> None:
    match sys.argv[1:]:
        case ["csv", path]:
            result = read_csv(path)
        case ["npz", path]:
            result = read_npz(path)
        case ["reference", name, steps]:
            result = reference(name, int(steps))
        case _:
            sys.exit(__doc__)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
