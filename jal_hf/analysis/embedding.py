"""The network's last features in the plane, by t-SNE on a subsample (Figure 1 of the JAL paper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from torch import Tensor, nn

from jal_hf.analysis.style import (
    FONT_SIZE,
    legend_outside,
    new_figure,
    series_style,
    shown,
    style_axes,
)

LARGEST_LEGEND = 20


def classifier_of(model: nn.Module, num_classes: int) -> nn.Module:
    """The last linear layer with one output a class, whose input are the features.

    ValueError when the model has none.
    """
    for layer in reversed(list(model.modules())):
        if isinstance(layer, nn.Linear) and layer.out_features == num_classes:
            return layer
    raise ValueError(
        f"The model has no linear layer with {num_classes} outputs, so it has no features to show."
    )


def extract_features(
    model: nn.Module, dataset: Any, rows: Sequence[int], num_classes: int, batch_size: int = 256
) -> npt.NDArray[np.float32]:
    """Inputs of the classifier, (len(rows), D), for these rows of a dataset with `__getitems__`."""
    caught: list[Tensor] = []

    def catch(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        caught.append(inputs[0].detach().float().flatten(1).cpu())

    hook = classifier_of(model, num_classes).register_forward_pre_hook(catch)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(rows), batch_size):
                batch = dataset.__getitems__(list(rows[start : start + batch_size]))
                model(batch["pixel_values"].to(device))
    finally:
        hook.remove()
        model.train(was_training)
    return torch.cat(caught).numpy()


def tsne(features: npt.NDArray[np.float32], seed: int = 0) -> npt.NDArray[np.float32]:
    """Points in the plane, (N, 2), for features (N, D); needs at least four examples."""
    if len(features) < 4:
        raise ValueError(f"t-SNE of {len(features)} examples says nothing; give at least 4.")
    perplexity = min(30.0, (len(features) - 1) / 3)
    embedding = TSNE(2, perplexity=perplexity, random_state=seed, init="pca")
    return np.asarray(embedding.fit_transform(features), dtype=np.float32)


def embedding_figure(
    points: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    class_names: Sequence[str],
    title: str = "",
) -> Figure:
    """A scatter of points (N, 2) by class (N,); each class has its marker and, in its middle, its number."""
    figure = new_figure(7.6, 5.4)
    axes = figure.subplots()
    for k in np.unique(labels).tolist():
        style = series_style(k)
        own = points[labels == k]
        axes.scatter(
            own[:, 0],
            own[:, 1],
            s=14,
            c=style.color,
            marker=style.marker,
            linewidths=0,
            alpha=0.6,
            label=shown(class_names[k] if class_names[k] == str(k) else f"{k}  {class_names[k]}"),
        )
        middle = np.median(own, axis=0)
        axes.text(
            middle[0],
            middle[1],
            str(k),
            fontsize=FONT_SIZE,
            fontweight="bold",
            ha="center",
            va="center",
            bbox={
                "boxstyle": "circle,pad=0.15",
                "facecolor": "white",
                "edgecolor": "black",
                "linewidth": 0.8,
            },
        )
    style_axes(axes, title=title, grid=False)
    axes.set_xticks([])
    axes.set_yticks([])
    if np.unique(labels).size <= LARGEST_LEGEND:
        legend_outside(axes, title, markerscale=1.6)
    return figure
