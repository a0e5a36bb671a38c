"""Pictures with a line below each, as one figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from jal_hf.analysis.style import FONT_SIZE, INK, new_figure, set_lines, set_title, shown, shown_apart
from jal_hf.analysis.thumbnails import as_picture
from jal_hf.ground.image_files import as_mode

COLUMNS = 8
LONGEST = 20


def picture_grid_figure(
    pictures: Sequence[Image.Image | npt.NDArray[np.uint8]], captions: Sequence[str], title: str = ""
) -> Figure:
    """Pictures from left to right and down, eight a line, each with its caption of one or two lines above it.

    ValueError without a picture, or when there are not as many captions.
    """
    if not pictures or len(pictures) != len(captions):
        raise ValueError(
            f"{len(pictures)} pictures with {len(captions)} captions; give at least one, and as many."
        )
    lines = -(-len(pictures) // COLUMNS)
    above = 0.25 + 0.15 * max(caption.count("\n") for caption in captions)
    figure = new_figure(1.25 * COLUMNS, (1.25 + above) * lines + 0.5)
    for panel in figure.subplots(lines, COLUMNS, squeeze=False).flat:
        panel.axis("off")
    for panel, image, caption in zip(figure.axes, pictures, captions, strict=False):
        panel.imshow(np.asarray(as_mode(as_picture(image), "RGB")), interpolation="nearest")
        heading = panel.set_title("", fontsize=FONT_SIZE - 2, color=INK)
        set_lines(heading, [shown(part, LONGEST) for part in caption.split("\n")])
    set_title(figure.suptitle(""), title)
    return figure


def label_captions(class_names: Sequence[str], given: Sequence[int], suggested: Sequence[int]) -> list[str]:
    """`cat → dog` for each picture, on two lines where names are long; different classes never look alike."""
    names = shown_apart(class_names, LONGEST - 2)
    pairs = [(names[one], names[other]) for one, other in zip(given, suggested, strict=True)]
    longest = max((len(f"{one} → {other}") for one, other in pairs), default=0)
    arrow = " → " if longest <= LONGEST else "\n→ "
    return [f"{one}{arrow}{other}" for one, other in pairs]
