"""Draws the theory of asymmetric losses as PNG and CSV.

    python examples/theory_figures.py --out theory_figures

Writes figure1_calibration (H and H- of AGCE and AUL on two classes), figure2_conditions (the largest probability
that minimises the weighted loss, around the a* where the condition of AGCE, AUL and AEL turns) of Zhou et al.,
"Asymmetric Loss Functions for Learning with Noisy Labels" (2021), and amse_condition (the same for the AMSE of the
Joint Asymmetric Loss, with the smallest safe a under symmetric noise).
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from jal_hf.losses import create_loss
from jal_hf.theory import calibration_curves, minimizer, minimum_a

STYLES = ["-", "--", "-.", ":"]
GREYS = ["black", "0.35", "0.55", "0.2"]
CLASSES = 10


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """One table, a header line first."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def figure1(out: Path) -> None:
    """Classification calibration: H- lies above H for every eta but 1/2."""
    etas = np.linspace(0.0, 1.0, 101)
    panels = {
        "AGCE, a = 1": [
            ("q = 1.5", create_loss("agce", a=1.0, q=1.5)),
            ("q = 3", create_loss("agce", a=1.0, q=3.0)),
        ],
        "AUL, a = 1.5": [
            ("p = 0.5", create_loss("aul", a=1.5, p=0.5)),
            ("p = 0.9", create_loss("aul", a=1.5, p=0.9)),
        ],
    }
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    rows: list[list[object]] = []
    for axis, (title, losses) in zip(axes, panels.items(), strict=True):
        for (label, loss), shade, marker in zip(losses, ["black", "0.5"], ["o", "s"], strict=True):
            least, least_wrong = calibration_curves(loss, etas)
            mark = {"color": shade, "marker": marker, "markevery": 12, "markersize": 4}
            axis.plot(etas, least, "-", label=f"H, {label}", **mark)
            axis.plot(etas, least_wrong, "--", label=f"H⁻, {label}", **mark)
            rows += [[title, label, *values] for values in zip(etas, least, least_wrong, strict=True)]
        axis.set(title=title, xlabel="η, probability of the first class", ylabel="least conditional risk")
        axis.legend(fontsize=8, ncol=2)
        axis.grid(alpha=0.3)
    figure.savefig(out / "figure1_calibration.png", dpi=150)
    plt.close(figure)
    write_csv(out / "figure1_calibration.csv", ["panel", "parameter", "eta", "H", "H_minus"], rows)


def condition_curve(name: str, weights: np.ndarray, values: np.ndarray, **params: float) -> list[float]:
    """The dominant label's probability at the minimum, for each a."""
    top = int(weights.argmax())
    return [float(minimizer(create_loss(name, a=float(a), **params), weights)[top]) for a in values]


def figure2(out: Path, seed: int) -> None:
    """p_m against a for weights with three gaps; the line marks a*, where (w_m / w_n) r = 1."""
    panels = [("agce", {"q": 0.5}, "AGCE, q = 0.5"), ("aul", {"p": 2.0}, "AUL, p = 2"), ("ael", {}, "AEL")]
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained", sharey=True)
    rows: list[list[object]] = []
    for axis, (name, params, title) in zip(axes, panels, strict=True):
        for ratio, style, shade in zip([1.5, 2.0, 3.0], STYLES, GREYS, strict=False):
            weights = np.random.default_rng(seed).uniform(0.1, 1.0, CLASSES)
            weights[weights.argmax()] = ratio * np.sort(weights)[-2]
            turn = minimum_a(weights, loss=name, exponent=next(iter(params.values()), None))
            start = 1.0 + 0.05 * (turn - 1.0) if name == "aul" else 0.05 * turn
            values = np.linspace(start, 2.0 * turn, 49)
            curve = condition_curve(name, weights, values, **params)
            axis.plot(values / turn, curve, style, color=shade, label=f"w_m/w_n = {ratio:g}, a* = {turn:.3g}")
            rows += [[name, ratio, turn, a, p] for a, p in zip(values, curve, strict=True)]
        axis.axvline(1.0, color="black", linewidth=0.8)
        axis.set(title=title, xlabel="a / a*", ylim=(0.0, 1.05))
        axis.legend(fontsize=8, loc="lower right")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("p_m at the minimum")
    figure.savefig(out / "figure2_conditions.png", dpi=150)
    plt.close(figure)
    write_csv(out / "figure2_conditions.csv", ["loss", "weight_ratio", "a_star", "a", "p_m"], rows)


def amse_condition(out: Path) -> None:
    """Left: p_m against a for AMSE under symmetric noise. Right: the smallest safe a against the noise rate."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    rows: list[list[object]] = []
    for rate, style, shade in zip([0.4, 0.6, 0.8], STYLES, GREYS, strict=False):
        weights = np.full(CLASSES, rate / (CLASSES - 1))
        weights[0] = 1.0 - rate
        turn = minimum_a(weights)
        values = np.linspace(1.0, 1.6 * turn, 49)
        curve = condition_curve("amse", weights, values)
        left.plot(values, curve, style, color=shade, label=f"η = {rate:g}, least safe a = {turn:.3g}")
        rows += [["p_m", CLASSES, rate, a, p] for a, p in zip(values, curve, strict=True)]
        left.axvline(turn, color=shade, linewidth=0.6)
    left.set(title=f"AMSE, q = 2, K = {CLASSES}", xlabel="a", ylabel="p_m at the minimum", ylim=(0.0, 1.05))
    left.legend(fontsize=8, loc="lower right")
    for classes, style, shade in zip([10, 14, 100], STYLES, GREYS, strict=False):
        rates = np.linspace(0.0, 0.99 * (classes - 1) / classes, 100)
        limits = [minimum_a(float(rate), num_classes=classes) for rate in rates]
        right.plot(rates, limits, style, color=shade, label=f"K = {classes}")
        rows += [["smallest_a", classes, rate, limit, ""] for rate, limit in zip(rates, limits, strict=True)]
    right.axhline(30.0, color="black", linewidth=0.8)
    right.text(0.02, 33.0, "a = 30, the CIFAR-10 preset", fontsize=8)
    right.set(title="smallest safe a under symmetric noise", xlabel="noise rate η", ylabel="a", yscale="log")
    right.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.0, 0.62))
    for axis in (left, right):
        axis.grid(alpha=0.3)
    figure.savefig(out / "amse_condition.png", dpi=150)
    plt.close(figure)
    write_csv(out / "amse_condition.csv", ["curve", "num_classes", "noise_rate", "a", "p_m"], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("theory_figures"), help="Folder to write to.")
    parser.add_argument("--seed", type=int, default=0, help="Of figure 2's random weights.")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    figure1(given.out)
    figure2(given.out, given.seed)
    amse_condition(given.out)
    for path in sorted(given.out.iterdir()):
        print(path)


if __name__ == "__main__":
    main()
