"""How hard each loss pulls, as a function of p of the given label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from jal_hf.analysis.style import (
    legend_outside,
    new_figure,
    save_figure,
    series_style,
    shown,
    style_axes,
)
from jal_hf.losses import RobustLoss, resolve_loss

Losses = Mapping[str, RobustLoss | str] | Iterable[RobustLoss | str]
"""Losses to draw, as objects or by name; a mapping gives each a name for the legend."""


def named_losses(losses: Losses) -> dict[str, RobustLoss]:
    """The losses by the name that a legend gives them: their own, numbered where several have the same.

    Raises:
        TypeError, ValueError: no loss, something that is none, or a name that there is not.
    """
    if isinstance(losses, str | RobustLoss):
        losses = [losses]
    if isinstance(losses, Mapping):
        found = {str(name): resolve_loss(loss) for name, loss in losses.items()}
    else:
        found = {}
        for loss in map(resolve_loss, losses):
            again = sum(loss.name == other.name for other in found.values())
            found[f"{loss.name} ({again + 1})" if again else loss.name] = loss
    if not found:
        raise ValueError("No loss was given to plot; give at least one.")
    return found


def gradient_magnitude(
    loss: RobustLoss | str, p_given: npt.NDArray[np.float64], num_classes: int
) -> npt.NDArray[np.float64]:
    """|dL / dz_y| at each value of `p_given` (P,), the other classes sharing the rest equally; (P,).

    The derivative is by the logit of the given label, so it counts what softmax takes away near 0 and 1.
    """
    logits = logits_at(p_given, num_classes)
    logits.requires_grad_(True)
    total, _ = resolve_loss(loss).sum_and_weight(logits, torch.zeros(len(logits), dtype=torch.long))
    (gradient,) = torch.autograd.grad(total, logits)
    return np.asarray(gradient[:, 0].abs().numpy(), dtype=np.float64)


def logits_at(p_given: npt.NDArray[np.float64], num_classes: int) -> torch.Tensor:
    """Logits (P, K) whose softmax gives class 0 each value of `p_given` (P,), and the others equal shares of the rest.

    ValueError for fewer than 2 classes, and for values that are not strictly between 0 and 1.
    """
    if num_classes < 2:
        raise ValueError(f"{num_classes} classes were given; a gradient needs at least 2.")
    p = torch.from_numpy(np.asarray(p_given, dtype=np.float64))
    if bool(((p <= 0) | (p >= 1)).any()):
        raise ValueError("p_given must lie strictly between 0 and 1.")
    rest = ((1.0 - p) / (num_classes - 1)).log()
    logits = rest[:, None].repeat(1, num_classes)
    logits[:, 0] = p.log()
    return logits


def gradient_figure(losses: Losses, num_classes: int = 10) -> Figure:
    """A line for each loss; each is scaled to a largest value of 1, since the step size absorbs the scale."""
    figure = new_figure(7.4, 4.2)
    axes = figure.subplots()
    p = np.linspace(0.002, 0.998, 250)
    for number, (name, loss) in enumerate(named_losses(losses).items()):
        style = series_style(number)
        pull = gradient_magnitude(loss, p, num_classes)
        axes.plot(
            p,
            pull / max(float(pull.max()), np.finfo(np.float64).tiny),
            color=style.color,
            linestyle=style.dash,
            marker=style.marker,
            markevery=(3 * number % 25, 25),
            markersize=5,
            linewidth=1.6,
            label=shown(name),
        )
    style_axes(
        axes,
        x_label="p of the given label",
        y_label="gradient magnitude (largest = 1)",
    )
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, 1.05)
    title = f"pull of each loss on the logit of the given label, K = {num_classes}"
    legend_outside(axes, title)
    return figure


def plot_gradient_magnitude(losses: Losses, path: str | Path, num_classes: int = 10) -> list[Path]:
    """Draw `gradient_figure` and save it as `save_figure` does.

    Args:
        losses: such as `["ce", "jal-ce"]`, objects among them, or a mapping from names for the legend to losses.
        num_classes: K, at least 2; the classes beside the given one share the rest equally.

    Raises:
        TypeError, ValueError: no loss, something that is none, or fewer than 2 classes.
    """
    return save_figure(gradient_figure(losses, num_classes), path)
