"""Makes the images and numbers of this folder with xtal2png 0.9.4: `python make.py`, where that is installed.

Made with pymatgen 2026.10.24, spglib 2.8.0, numpy 2.4.6 and Pillow 13.0.0. "twenty-noisy" is the image of "twenty"
with noise, and without the first six copies of a.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from crystals import CRYSTALS
from PIL import Image
from pymatgen.core import Structure
from xtal2png import XtalConverter

here = Path(__file__).parent
structures = {name: Structure(*crystal) for name, crystal in CRYSTALS.items()}
with tempfile.TemporaryDirectory() as folder:
    grey = XtalConverter(save_dir=folder, verbose=False)
    colour = XtalConverter(save_dir=folder, verbose=False, channels=3)
    images = {name: grey.xtal2png([structure], save=False)[0] for name, structure in structures.items()}
    images["triclinic-rgb"] = colour.xtal2png([structures["triclinic"]], save=False)[0]
    levels = np.asarray(images["twenty"])
    noise = np.random.default_rng(1).normal(0, 3, levels.shape)
    noisy = np.clip(np.round(levels + noise), 0, 255).astype(np.uint8)
    noisy[12:18, 4] = noisy[4, 12:18] = 0
    images["twenty-noisy"] = Image.fromarray(noisy)
    decoded = {}
    for name in ("copper", "triclinic", "skewed", "twenty-noisy"):
        (read,) = grey.png2xtal([images[name]])
        decoded[name] = {
            "lattice": read.lattice.matrix.round(9).tolist(),
            "numbers": list(read.atomic_numbers),
            "frac_coords": read.frac_coords.round(9).tolist(),
        }
for name, image in images.items():
    image.save(here / f"{name}.png")
rows = (f"{json.dumps(name)}: {json.dumps(crystal)}" for name, crystal in decoded.items())
(here / "decoded.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")
