"""What the official `mujoco` package draws of a model in its initial state.

    python3 picture.py MODEL

Draws it 320 pixels wide and 240 high, without shadows and reflections, from a free camera that
tests/tests/it/pictures.rs has too. Prints one line of JSON: {"rgb", "depth": [{"at", "metres"}]},
where `rgb` is the bytes of the picture in base64, row by row from above.
"""

import base64
import json
import os
import pathlib
import sys

os.environ["MUJOCO_GL"] = "egl"

import mujoco

MODELS = pathlib.Path(__file__).resolve().parents[3] / "third_party" / "models"

WIDTH, HEIGHT = 320, 240


def main() -> None:
    index = json.loads((MODELS / "INDEX.json").read_text())
    model = mujoco.MjModel.from_xml_path(str(MODELS / index[sys.argv[1]]["entry"]))
    model.vis.quality.offsamples = 0
    model.vis.quality.shadowsize = 0
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FREE
    camera.lookat[:] = [0, 0, 1]
    camera.distance, camera.azimuth, camera.elevation = 4, 120, -20
    with mujoco.Renderer(model, HEIGHT, WIDTH) as renderer:
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        # The engine puts the light at the camera where the camera was the time before.
        for _ in range(2):
            renderer.update_scene(data, camera)
        rgb = base64.b64encode(renderer.render().tobytes()).decode()
        renderer.enable_depth_rendering()
        metres = renderer.render()
        points = [[160, 120], [150, 90], [40, 200], [280, 230], [165, 70]]
        depth = [{"at": [x, y], "metres": float(metres[y, x])} for x, y in points]
    print(json.dumps({"rgb": rgb, "depth": depth}))


main()
