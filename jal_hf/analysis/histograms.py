"""How sure the model is of each given label: clean labels against wrong ones (Figure 3 of the JAL paper)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jal_hf.analysis.style import FONT_SIZE, INK, new_figure, save_figure, series_style, style_axes


def confidence_histogram_figure(histogram: Mapping[str, Any], title: str = "") -> Figure:
    """Histograms over p of the given label, each as the share of its own group.

    `histogram` holds `edges` (B + 1) and counts (B): `clean` and `wrong`, or `given` where nobody knows which label is
    which, as run.json stores them.
    """
    edges = np.asarray(histogram["edges"], dtype=np.float64)
    figure = new_figure(6.4, 4.0)
    axes = figure.subplots()
    highest = 0.0
    groups = (
        ("given", "all labels", 0, 0.75),
        ("clean", "clean labels", 0, 0.75),
        ("wrong", "wrong labels", 1, 0.0),
    )
    for key, name, number, alpha in groups:
        counts = np.asarray(histogram.get(key) or np.zeros(edges.size - 1), dtype=np.float64)
        if counts.shape != (edges.size - 1,):
            raise ValueError(
                f"The histogram has {counts.size} {key} counts for {edges.size} edges; give one a bin."
            )
        total = counts.sum()
        if total == 0:
            continue
        share = 100.0 * counts / total
        highest = max(highest, float(share.max()))
        style = series_style(number)
        label = f"{name} ({int(total):,})"
        # Solid against hatched: the two stay apart on a grey print and where they overlap.
        axes.bar(
            edges[:-1],
            share,
            width=np.diff(edges),
            align="edge",
            color=(style.color, alpha) if alpha else "none",
            edgecolor=style.color if number else INK,
            hatch=style.hatch,
            linewidth=0.9,
            label=label,
        )
    style_axes(axes, title=title, x_label="p of the given label", y_label="share of the group (%)")
    axes.set_xlim(float(edges[0]), float(edges[-1]))
    if highest:
        axes.set_ylim(0.0, 1.08 * highest)
        axes.legend(fontsize=FONT_SIZE, frameon=True, framealpha=1.0, loc="upper center")
    return figure


def plot_confidence_histogram(histogram: Mapping[str, Any], path: str | Path, title: str = "") -> list[Path]:
    """Draw `confidence_histogram_figure` and save it as PNG and SVG."""
    return save_figure(confidence_histogram_figure(histogram, title), path)
