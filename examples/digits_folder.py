"""A folder of images with wrong labels, to try things on: scikit-learn's digits, 2 in 5 training labels wrong.

Run: python examples/digits_folder.py my_folder    writes my_folder/train/CLASS/*.png and my_folder/test/CLASS/*.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from jal_hf import create_noise


def main(folder: str, noise: str = "symmetric:0.4", size: int = 32) -> Path:
    """Write the folder; the test labels are right."""
    digits = load_digits()
    given = create_noise(noise, num_classes=10).corrupt(digits.target, seed=0)
    for row, pixels in enumerate(digits.images):
        split, label = ("test", digits.target[row]) if row % 5 == 0 else ("train", given[row])
        place = Path(folder) / split / f"digit_{label}"
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((pixels * 15.9).astype(np.uint8))
        picture.resize((size, size), Image.Resampling.BICUBIC).save(place / f"{row:04d}.png")
    return Path(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
