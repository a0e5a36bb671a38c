"""A search in one picture: the score of each trial, the best so far, and the score against each parameter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jal_hf.analysis.search_space import Interval
from jal_hf.analysis.style import FONT_SIZE, INK, new_figure, save_figure, series_style, set_title, style_axes


def study_figure(study: Any, space: Mapping[str, Interval], title: str = "") -> Figure:
    """Panels of an Optuna study that maximises an accuracy in [0, 1], shown in percent."""
    finished = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    stopped = [trial for trial in study.trials if trial.state.name == "PRUNED" and trial.intermediate_values]
    if not finished:
        raise ValueError("The study has no finished trial to draw.")
    panels = 1 + len(space)
    columns = 2 if panels <= 4 else 3
    rows = -(-panels // columns)
    figure = new_figure(3.6 * columns, 2.8 * rows + 0.4)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in axes[panels:]:
        empty.set_axis_off()
    _history(axes[0], finished, stopped)
    for panel, (name, interval) in zip(axes[1:], space.items(), strict=False):
        _against(panel, name, interval, finished, study.best_trial)
    set_title(figure.suptitle(""), title)
    handles, labels = axes[0].get_legend_handles_labels()
    more, names = axes[1].get_legend_handles_labels()
    figure.legend(
        handles + more,
        labels + names,
        loc="outside lower center",
        ncols=len(labels + names),
        fontsize=FONT_SIZE - 1,
        frameon=False,
    )
    return figure


def _history(axes: Axes, finished: list[Any], stopped: list[Any]) -> None:
    done, best, cut = series_style(0), series_style(4), series_style(1)
    numbers = [trial.number for trial in finished]
    scores = [100.0 * trial.value for trial in finished]
    axes.plot(
        numbers, scores, linestyle="none", marker=done.marker, color=done.color, markersize=5, label="trial"
    )
    if stopped:
        last = [100.0 * trial.intermediate_values[max(trial.intermediate_values)] for trial in stopped]
        axes.plot(
            [trial.number for trial in stopped],
            last,
            linestyle="none",
            marker="x",
            color=cut.color,
            markersize=5,
            label="stopped early",
        )
    axes.step(
        numbers,
        np.maximum.accumulate(scores),
        where="post",
        color=best.color,
        linewidth=1.4,
        label="best so far",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style_axes(axes, x_label="trial", y_label="noisy validation\naccuracy (%)")


def _against(axes: Axes, name: str, interval: Interval, finished: list[Any], best: Any) -> None:
    style = series_style(0)
    values = [trial.params[name] for trial in finished]
    scores = [100.0 * trial.value for trial in finished]
    axes.plot(values, scores, linestyle="none", marker=style.marker, color=style.color, markersize=5)
    axes.plot(
        best.params[name],
        100.0 * best.value,
        marker="*",
        markersize=13,
        color=INK,
        linestyle="none",
        label="best",
    )
    axes.axvline(interval.preset, color=INK, linestyle=":", linewidth=1.2, label="preset")
    axes.set_xscale("log")
    axes.set_xlim(0.9 * interval.low, 1.1 * interval.high)
    marks = (interval.low, interval.preset, interval.high)
    axes.set_xticks(marks, [f"{value:.3g}" for value in marks])
    axes.set_xticks([], minor=True)
    style_axes(axes, x_label=name.replace("_", " "), y_label="accuracy (%)")


def plot_study(study: Any, space: Mapping[str, Interval], path: str | Path, title: str = "") -> list[Path]:
    """Draw `study_figure` and save it as PNG and SVG."""
    return save_figure(study_figure(study, space, title), path)
