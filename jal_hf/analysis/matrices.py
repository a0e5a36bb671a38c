"""The label-transition matrix that was asked for beside the one that was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from jal_hf.analysis.style import FONT_SIZE, INK, new_figure, save_figure, shown_apart, style_axes

LARGEST_ANNOTATED = 20
LONGEST_NAME = 12

Matrix = npt.ArrayLike


def transition_matrix_figure(
    asked: Matrix | None,
    realised: Matrix | None,
    class_names: Sequence[str] | None = None,
    titles: tuple[str, str] = ("asked", "realised"),
) -> Figure:
    """Heat maps of one or two (K, K) matrices; row: clean class, column: given class, cells in percent.

    Up to 20 classes every cell carries its figure; beyond that ticks are thinned and the grey scale speaks.
    """
    given = [
        (title, _square(matrix, title))
        for title, matrix in zip(titles, (asked, realised), strict=True)
        if matrix is not None
    ]
    if not given:
        raise ValueError("Neither an asked nor a realised transition matrix was given; give at least one.")
    classes = given[0][1].shape[0]
    if any(matrix.shape[0] != classes for _, matrix in given):
        shapes = " and ".join(str(matrix.shape) for _, matrix in given)
        raise ValueError(f"The two transition matrices have different sizes, {shapes}; both must be (K, K).")
    names = [str(name) for name in class_names] if class_names else [str(k) for k in range(classes)]
    if len(names) != classes:
        raise ValueError(
            f"{len(names)} class names were given for a matrix of {classes} classes; give one a class."
        )

    side = min(max(3.2, 0.42 * classes), 8.0) if classes <= LARGEST_ANNOTATED else 5.0
    figure = new_figure(side * len(given) + 1.4, side + 0.9, square_panels=True)
    panels = figure.subplots(1, len(given), squeeze=False)[0]
    image: AxesImage | None = None
    for axes, (title, matrix) in zip(panels, given, strict=True):
        image = _draw(axes, matrix, names, title, first=axes is panels[0])
    if image is not None:
        bar = figure.colorbar(image, ax=list(panels), fraction=0.046, pad=0.02)
        bar.set_label("share of the clean class (%)", fontsize=FONT_SIZE)
        bar.ax.tick_params(labelsize=FONT_SIZE - 1)
    return figure


def _square(matrix: Matrix, title: str) -> npt.NDArray[np.float64]:
    values = np.asarray(matrix, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise ValueError(
            f"The {title} transition matrix has shape {values.shape}; it must be square, (K, K)."
        )
    return values


def _draw(
    axes: Axes, matrix: npt.NDArray[np.float64], names: Sequence[str], title: str, *, first: bool
) -> AxesImage:
    classes = matrix.shape[0]
    # With many classes each flip has a tiny share; a square-root scale keeps it apart from none at all.
    scale = PowerNorm(1.0 if classes <= LARGEST_ANNOTATED else 0.5, vmin=0.0, vmax=100.0)
    image = axes.imshow(100.0 * matrix, cmap="Greys", norm=scale, interpolation="nearest")
    step = 1 if classes <= LARGEST_ANNOTATED else -(-classes // 10)
    ticks = list(range(0, classes, step))
    apart = shown_apart(names, LONGEST_NAME)
    short = [apart[k] for k in ticks]
    axes.set_xticks(ticks, short)
    axes.set_yticks(ticks, short if first else [""] * len(ticks))
    style_axes(axes, title=title, x_label="given class", y_label="clean class" if first else "", grid=False)
    axes.tick_params(axis="x", labelrotation=90 if max(map(len, short)) > 2 else 0)
    if classes <= LARGEST_ANNOTATED:
        _annotate(axes, matrix)
    return image


def _annotate(axes: Axes, matrix: npt.NDArray[np.float64]) -> None:
    classes = matrix.shape[0]
    size = FONT_SIZE - 2 if classes <= 10 else FONT_SIZE - 4
    for row in range(classes):
        for column in range(classes):
            value = 100.0 * matrix[row, column]
            if value > 0.0:
                text = f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
                color = "white" if value > 50.0 else INK
                axes.text(column, row, text, ha="center", va="center", fontsize=size, color=color)


def plot_transition_matrix(
    asked: Matrix | None, realised: Matrix | None, class_names: Sequence[str] | None, path: str | Path
) -> list[Path]:
    """Draw `transition_matrix_figure` and save it as PNG and SVG."""
    return save_figure(transition_matrix_figure(asked, realised, class_names), path)
