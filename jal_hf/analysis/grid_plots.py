"""Pictures of a grid: accuracy over epochs and over time for each noise, and last-epoch accuracies as bars."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from jal_hf.analysis.curves import measured, plot_curves
from jal_hf.analysis.style import (
    INK,
    legend_outside,
    new_figure,
    save_figure,
    series_style,
    shown,
    style_axes,
    wrapped,
)
from jal_hf.analysis.tables import GridTable, display_name, display_noise, mean_and_spread
from jal_hf.ground.files import LogLine
from jal_hf.ground.run_log import read_log


def plot_grid(table: GridTable, folder: str | Path) -> list[Path]:
    """Write `plots/bars.png`, `plots/curves-NOISE.png`, `plots/time-NOISE.png` and their SVG twins; returns the files.

    Time is left out where the logs do not tell it, as those of earlier versions.
    """
    folder = Path(folder)
    written = save_figure(bars_figure(table), folder / "plots" / "bars.png")
    for noise in table.noises:
        logs = {}
        for loss in table.losses:
            runs = [log for name in table.cell(loss, noise).folders if (log := read_log(folder / name))]
            if mean := mean_log(runs):
                logs[display_name(loss)] = mean
        if logs:
            name = re.sub(r"[^A-Za-z0-9.+_-]+", "-", display_noise(noise))
            title = f"noise {display_noise(noise)}, mean over seeds"
            written += plot_curves(logs, folder / "plots" / f"curves-{name}.png", title)
            if all("seconds" in line for log in logs.values() for line in log):
                written += plot_curves(logs, folder / "plots" / f"time-{name}.png", title, "seconds")
    return written


def mean_log(logs: Sequence[Sequence[LogLine]]) -> list[LogLine]:
    """Accuracy (see `curves.measured`) averaged over runs, and seconds where all know them, at the epochs that all have
    evaluated."""
    if not logs:
        return []
    measure = measured(logs)
    lines = [
        {float(line["epoch"]): line for line in log if line.get(measure) is not None and "epoch" in line}
        for log in logs
    ]
    keys = [measure, "seconds"]
    mean: list[LogLine] = []
    for epoch in sorted(set.intersection(*(set(points) for points in lines))):
        own = [points[epoch] for points in lines]
        known = [key for key in keys if all(isinstance(line.get(key), int | float) for line in own)]
        mean.append({"epoch": epoch, **{key: statistics.fmean(line[key] for line in own) for key in known}})
    return mean


def bars_figure(table: GridTable) -> Figure:
    """A group of bars for each noise, a bar for each loss; whiskers are one standard deviation over seeds.

    A paper's figure, where it reports the cell, is a line across the bar.
    """
    count = len(table.losses)
    names = [shown(display_noise(noise)) for noise in table.noises]
    inches = max(0.32 * (count + 1), min(1.5, 0.1 * max(map(len, names))))
    figure = new_figure(max(5.0, 1.6 + inches * len(names)), 4.2)
    axes = figure.subplots()
    width = 0.8 / count
    lowest = 100.0
    for row, loss in enumerate(table.losses):
        style = series_style(row)
        places, heights, spreads = [], [], []
        for column, noise in enumerate(table.noises):
            cell = table.cell(loss, noise)
            place = column + (row - (count - 1) / 2) * width
            if cell.last:
                mean, spread = mean_and_spread(cell.last)
                places.append(place)
                heights.append(mean)
                spreads.append(spread or 0.0)
                lowest = min(lowest, mean - (spread or 0.0))
            if cell.paper is not None:
                axes.hlines(
                    cell.paper.accuracy, place - width / 2, place + width / 2, color=INK, linewidth=2.0
                )
                lowest = min(lowest, cell.paper.accuracy)
        axes.bar(
            places,
            heights,
            width,
            yerr=spreads if any(spreads) else None,
            color=style.color,
            hatch=style.hatch,
            edgecolor="white",
            ecolor=INK,
            capsize=2,
            label=shown(display_name(loss)),
        )
    style_axes(axes, y_label="test accuracy, last epoch (%)")
    letters = int(10 * inches)
    axes.set_xticks(range(len(names)), ["\n".join(wrapped(name, letters)) for name in names])
    # Bars start at 0 unless that would hide all differences; then the axis says where it starts.
    axes.set_ylim(10.0 * math.floor(lowest / 10.0 - 0.5) if lowest > 50.0 else 0.0, 100.0)
    if any(table.has_paper(noise) for noise in table.noises):
        axes.plot([], [], color=INK, linewidth=2.0, label="paper")
    legend_outside(axes)
    return figure
