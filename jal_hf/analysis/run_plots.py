"""The three pictures of a run, drawn from its record and its log alone."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from jal_hf.analysis.curves import ACCURACY, curves_figure
from jal_hf.analysis.histograms import confidence_histogram_figure
from jal_hf.analysis.matrices import transition_matrix_figure
from jal_hf.analysis.records import log_series, read_log, read_run, run_title
from jal_hf.analysis.style import save_figure


def run_figures(folder: str | Path) -> dict[str, Figure]:
    """Figures of the run by file name: `curves`, `transition_matrix`, `confidence_histogram`.

    A picture whose facts the run does not have (no evaluation, no known noise, no clean labels) is left out.
    FileNotFoundError when the folder holds no run.json.
    """
    record, log = read_run(folder), read_log(folder)
    title = run_title(record)
    figures: dict[str, Figure] = {}
    if log_series(log, ACCURACY)[0] or log_series(log, "loss")[0]:
        figures["curves"] = curves_figure({"test accuracy": log}, title)
    noise = record.get("noise") or {}
    asked, realised = noise.get("transition_matrix"), noise.get("realised_matrix")
    if asked is not None or realised is not None:
        names = record.get("dataset", {}).get("class_names")
        figures["transition_matrix"] = transition_matrix_figure(asked, realised, names)
    histogram = record.get("metrics", {}).get("train", {}).get("confidence_histogram")
    if histogram:
        figures["confidence_histogram"] = confidence_histogram_figure(histogram, title)
    return figures


def plot_run(folder: str | Path) -> list[Path]:
    """Write the run's pictures under `folder/plots/` as PNG and SVG and return the files written."""
    written: list[Path] = []
    for name, figure in run_figures(folder).items():
        written += save_figure(figure, Path(folder) / "plots" / name)
    return written
