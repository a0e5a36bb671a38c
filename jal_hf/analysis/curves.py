"""Accuracy and training loss over the epochs of one run, and accuracy of several runs side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jal_hf.analysis.style import (
    FONT_SIZE,
    INK,
    legend_outside,
    new_figure,
    save_figure,
    series_style,
    shown_apart,
    style_axes,
)
from jal_hf.ground.files import LogLine
from jal_hf.ground.run_log import log_series

ACCURACY = "eval_accuracy"
MEASURES = {ACCURACY: "test accuracy", "validation_accuracy": "noisy validation accuracy"}
"""Key in a log, and what it is called; the first that any run has is drawn."""
X_LABELS = {"epoch": "epoch", "seconds": "seconds of training, evaluation included"}


def _draw(axes: Axes, epochs: Sequence[float], values: Sequence[float], number: int, label: str) -> None:
    style = series_style(number)
    every = max(1, len(epochs) // 10)
    axes.plot(
        epochs,
        values,
        color=style.color,
        linestyle=style.dash,
        linewidth=1.6,
        marker=style.marker,
        markersize=5,
        # Markers of several lines are set off from each other so that lines lying together stay apart.
        markevery=(number % every, every),
        label=label,
    )


def _mark_last_and_best(axes: Axes, epochs: Sequence[float], percent: Sequence[float]) -> None:
    best = max(range(len(percent)), key=percent.__getitem__)
    axes.plot(epochs[best], percent[best], marker="*", markersize=14, color=INK, linestyle="none")
    axes.plot(
        epochs[-1],
        percent[-1],
        marker="o",
        markersize=10,
        markerfacecolor="none",
        color=INK,
        linestyle="none",
    )
    axes.lines[-2].set_label(f"best: {percent[best]:.2f} % (epoch {epochs[best]:g})")
    axes.lines[-1].set_label(f"last: {percent[-1]:.2f} % (epoch {epochs[-1]:g})")


def measured(logs: Iterable[Sequence[LogLine]]) -> str:
    """The key of `MEASURES` that is drawn for these logs; that of the test accuracy where none of them has any."""
    logs = list(logs)
    return next((key for key in MEASURES if any(log_series(log, key)[0] for log in logs)), ACCURACY)


def curves_figure(
    logs: Mapping[str, Sequence[LogLine]],
    title: str = "",
    floor: float = 0.0,
    against: str = "epoch",
    *,
    warm_up: float = 0.0,
    starts: Mapping[str, float] | None = None,
) -> Figure:
    """Test accuracy over epochs, a line for each run; one run alone also shows its training loss below.

    Where no run was scored on a test split, it is the accuracy on the noisy validation split, and called so.
    `floor` is the smallest value the loss can take; it is taken off, for a raw AMSE of 84.1 says little. In the epochs
    of a `warm_up` another loss was trained, whose values lie elsewhere: they are left out. `starts` names the epochs
    from which on the loss counts other rows or labels, so that its values are no longer those before: they are marked.
    Several runs get no loss panel: the values of different losses have different floors and scales and say
    nothing side by side. `against` may be `seconds` of training for several.
    """
    if not logs:
        raise ValueError("No log was given to plot; give at least one run's log.")
    single = len(logs) == 1 and against == "epoch"
    figure = new_figure(6.4 if single else 7.4, 5.6 if single else 4.2)
    panels = figure.subplots(2 if single else 1, 1, squeeze=False, sharex=True)
    upper = panels[0, 0]
    measure = measured(logs.values())
    names = shown_apart(list(logs), 60)
    for number, (name, log) in enumerate(zip(names, logs.values(), strict=True)):
        epochs, accuracy = log_series(log, measure, against)
        percent = [100.0 * value for value in accuracy]
        _draw(upper, epochs, percent, number, name)
        if single and percent:
            _mark_last_and_best(upper, epochs, percent)
    style_axes(
        upper, title=title, x_label="" if single else X_LABELS[against], y_label=f"{MEASURES[measure]} (%)"
    )
    if single:
        _draw_training_loss(panels[1, 0], next(iter(logs.values())), floor, warm_up)
        _mark_starts(panels[1, 0], starts or {})
    panels[-1, 0].xaxis.set_major_locator(MaxNLocator(integer=against == "epoch"))
    # Outside the axes, a legend hides no point however the curves run.
    if upper.lines and single:
        handles, labels = upper.get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=3, fontsize=FONT_SIZE - 1, frameon=False
        )
    elif upper.lines:
        legend_outside(upper, title)
    return figure


def _draw_training_loss(axes: Axes, log: Sequence[LogLine], floor: float, warm_up: float) -> None:
    epochs, values = log_series(log, "loss")
    values = [value - floor for value in values]
    # A logged mean is of the steps since the one before.
    first = sum(start < warm_up for start in [0.0, *epochs[:-1]])
    epochs, values = epochs[first:], values[first:]
    if len(epochs) > 200:
        step = len(epochs) // 200 + 1
        epochs, values = epochs[::step], values[::step]
    _draw(axes, epochs, values, 1, "training loss")
    label = "training loss above its floor" if floor else "training loss"
    if first:
        label = "loss above floor after warm-up" if floor else "training loss after warm-up"
    style_axes(axes, x_label="epoch", y_label=label)


def _mark_starts(axes: Axes, starts: Mapping[str, float]) -> None:
    middle = sum(axes.get_xlim()) / 2
    for number, (name, epoch) in enumerate(starts.items()):
        axes.axvline(epoch, color=INK, linestyle=":", linewidth=1.2)
        is_early = epoch <= middle
        axes.annotate(
            f"{name} begins",
            (epoch, 0.97 - 0.1 * number),
            xycoords=("data", "axes fraction"),
            xytext=(4 if is_early else -4, 0),
            textcoords="offset points",
            ha="left" if is_early else "right",
            va="top",
            fontsize=FONT_SIZE - 1,
            color=INK,
        )


def plot_curves(
    logs: Mapping[str, Sequence[LogLine]], path: str | Path, title: str = "", against: str = "epoch"
) -> list[Path]:
    """Draw `curves_figure` and save it as PNG and SVG; `logs` maps a name to the lines of its log.jsonl."""
    return save_figure(curves_figure(logs, title, against=against), path)
