"""Small class folders in which the colour tells the class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"blue": (40, 40, 200), "green": (40, 200, 40), "red": (200, 40, 40)}


def save_colour(path: Path, colour: str, seed: int, side: int = 16) -> None:
    """One noisy picture of a colour."""
    noise = np.random.default_rng(seed).integers(-40, 41, (side, side, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)).save(path)


def class_folders(root: Path, rows: int = 20, wrong: int = 0, test: int = 0, colours: int = 3) -> Path:
    """`root/train/COLOUR/*.png`, of which the first `wrong` of each colour lie in the next colour's folder."""
    names = list(COLOURS)[:colours]
    for number, colour in enumerate(names):
        for row in range(rows):
            held = names[(number + 1) % len(names)] if row < wrong else colour
            save_colour(root / "train" / held / f"{colour}-{row:03d}.png", colour, 1000 * number + row)
        for row in range(test):
            save_colour(root / "test" / colour / f"{row:03d}.png", colour, 50_000 + 1000 * number + row)
    return root
