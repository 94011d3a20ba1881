"""What the official `mujoco` package makes of a model, bit by bit.

Steps one of the models that `make setup` fetches, from its initial state, under controls that
change every 10 steps, and prints the state after every 100 steps. tests/tests/it/reference.rs
steps the same model through the daemon, and wants the same bits.

    python3 reference.py MODEL SEED

The controls come from splitmix64, which reference.rs has too: for each of the 100 blocks of 10
steps, for each actuator in order, one number in [0, 1) is drawn and stretched over the actuator's
control range, or over [-1, 1] where it has none. The arithmetic is exact up to one rounding per
operation, so both sides get the same bits.

Prints one line of JSON: {"engine", "nq", "nv", "nu", "checkpoints": [{"step", "qpos", "qvel"}]},
where a number is the 16 hexadecimal digits of its bits.
"""

import json
import pathlib
import struct
import sys

import mujoco

MODELS = pathlib.Path(__file__).resolve().parents[3] / "third_party" / "models"

STEPS = 1000
CONTROL_EVERY = 10
CHECK_EVERY = 100

MASK = (1 << 64) - 1


class SplitMix64:
    """Steele, Lea and Flood's generator: one 64-bit word of state, one word a draw."""

    def __init__(self, seed: int) -> None:
        self.state = seed & MASK

    def word(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def fraction(self) -> float:
        """In [0, 1): the upper 53 bits, exactly."""
        return (self.word() >> 11) * 2.0**-53


def control_ranges(model: mujoco.MjModel) -> list[tuple[float, float]]:
    limited = model.actuator_ctrllimited
    ranges = [(float(low), float(high)) for low, high in model.actuator_ctrlrange]
    return [ranges[index] if limited[index] else (-1.0, 1.0) for index in range(model.nu)]


def bits(values) -> list[str]:
    return [struct.pack(">d", value).hex() for value in values]


def run(name: str, seed: int) -> dict:
    entry = json.loads((MODELS / "INDEX.json").read_text())[name]["entry"]
    model = mujoco.MjModel.from_xml_path(str(MODELS / entry))
    data = mujoco.MjData(model)
    ranges = control_ranges(model)
    random = SplitMix64(seed)
    checkpoints = []
    for step in range(STEPS):
        if step % CONTROL_EVERY == 0:
            data.ctrl[:] = [low + (high - low) * random.fraction() for low, high in ranges]
        mujoco.mj_step(model, data)
        if (step + 1) % CHECK_EVERY == 0:
            now = {"step": step + 1, "qpos": bits(data.qpos), "qvel": bits(data.qvel)}
            checkpoints.append(now)
    sizes = {"nq": model.nq, "nv": model.nv, "nu": model.nu}
    return {"engine": mujoco.mj_versionString(), **sizes, "checkpoints": checkpoints}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]))))
