"""A loss and its pull as functions of p of the given label, for each of a few settings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from jal_hf.analysis.gradients import Losses, gradient_magnitude, logits_at, named_losses
from jal_hf.analysis.style import FONT_SIZE, new_figure, series_style, shown, style_axes
from jal_hf.losses import RobustLoss, resolve_loss

POINTS = np.linspace(0.002, 0.998, 250)


def loss_values(
    loss: RobustLoss | str, p_given: npt.NDArray[np.float64], num_classes: int
) -> npt.NDArray[np.float64]:
    """The loss at each value of `p_given` (P,), the other classes sharing the rest equally; (P,).

    ValueError for fewer than 2 classes, and for values that are not strictly between 0 and 1.
    """
    with torch.no_grad():
        values = resolve_loss(loss).class_losses(logits_at(p_given, num_classes))[:, 0]
    return np.asarray(values.numpy(), dtype=np.float64)


def loss_curves_figure(losses: Losses, num_classes: int = 10) -> Figure:
    """Left, each loss above the smallest value it takes; right, how hard it pulls on the logit of the given label.

    The right side is scaled to a largest value of 1, since the step size absorbs the scale.
    """
    figure = new_figure(9.0, 3.9)
    value_axes, pull_axes = figure.subplots(1, 2)
    for number, (name, loss) in enumerate(named_losses(losses).items()):
        style = series_style(number)
        values, pull = loss_values(loss, POINTS, num_classes), gradient_magnitude(loss, POINTS, num_classes)
        look = {"color": style.color, "linestyle": style.dash, "linewidth": 1.8}
        value_axes.plot(POINTS, values - values.min(), **look)
        pull_axes.plot(
            POINTS, pull / max(float(pull.max()), np.finfo(np.float64).tiny), label=shown(name), **look
        )
    style_axes(value_axes, x_label="p of the given label", y_label="loss above its smallest value")
    style_axes(pull_axes, x_label="p of the given label", y_label="gradient magnitude (largest = 1)")
    pull_axes.set_ylim(0.0, 1.05)
    for axes in (value_axes, pull_axes):
        axes.set_xlim(0.0, 1.0)
    figure.legend(loc="outside lower center", ncols=3, fontsize=FONT_SIZE - 1, frameon=False)
    return figure
