"""The three pictures of a run, drawn from its record and its log alone, and several runs in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from jal_hf.analysis.curves import MEASURES, curves_figure, measured
from jal_hf.analysis.histograms import confidence_histogram_figure
from jal_hf.analysis.matrices import transition_matrix_figure
from jal_hf.analysis.style import save_figure
from jal_hf.ground.files import LogLine, refuse_links
from jal_hf.ground.record import RunRecord
from jal_hf.ground.run_log import log_series, read_log
from jal_hf.losses import create_loss, list_losses


def run_figures(folder: str | Path) -> dict[str, Figure]:
    """Figures of the run by file name: `curves`, `transition_matrix`, `confidence_histogram`.

    A picture whose facts the run does not have (no evaluation, no known noise, no clean labels) is left out.
    FileNotFoundError when the folder holds no run.json.
    """
    record, log = RunRecord.read(folder), read_log(folder)
    title = record.title
    figures: dict[str, Figure] = {}
    measure = measured([log])
    if log_series(log, measure)[0] or log_series(log, "loss")[0]:
        figures["curves"] = curves_figure(
            {MEASURES[measure]: log},
            title,
            loss_floor(record),
            warm_up=warm_up_epochs(record),
            starts=method_starts(record),
        )
    asked, realised = record.noise.get("transition_matrix"), record.noise.get("realised_matrix")
    if asked is not None or realised is not None:
        names = record.dataset.get("class_names")
        figures["transition_matrix"] = transition_matrix_figure(asked, realised, names)
    histogram = record.train.get("confidence_histogram")
    if histogram:
        figures["confidence_histogram"] = confidence_histogram_figure(histogram, title)
    return figures


def plot_run(folder: str | Path) -> list[Path]:
    """Write the run's pictures under `folder/plots/` as PNG and SVG and return the files written."""
    refuse_links(Path(folder), ["plots"])
    written: list[Path] = []
    for name, figure in run_figures(folder).items():
        written += save_figure(figure, Path(folder) / "plots" / name)
    return written


def plot_runs(folders: Sequence[str | Path], path: str | Path) -> list[Path]:
    """Write the accuracy over epochs of several runs as one picture.

    Each line is named by what sets its run apart: the loss alone where data and noise agree, else all three.
    """
    records = [RunRecord.read(folder) for folder in folders]
    settings = [record.title.split(" on ", 1)[1] for record in records]
    same = len(set(settings)) == 1
    names = [record.trained_with if same else record.title for record in records]
    logs: dict[str, list[LogLine]] = {}
    for folder, record, name in zip(folders, records, names, strict=True):
        label = name if names.count(name) == 1 else f"{name}, seed {record.seed}"
        while label in logs:
            label += " (again)"
        logs[label] = read_log(folder)
    title = settings[0] if same else ""
    return save_figure(curves_figure(logs, title), path)


def loss_floor(record: RunRecord) -> float:
    """The smallest value of the run's training loss for its number of classes; 0 where that is not known.

    A method that weighs rows, mixes them or adds terms has another, which is not known.
    """
    loss, dataset = record.loss, record.dataset
    if set(str(record.method.get("name", "plain")).split("+")) - {"plain", "ema", "warmup"}:
        return 0.0
    if loss.get("name") not in list_losses() or not dataset.get("num_classes") or "params" not in loss:
        return 0.0
    floor = create_loss(str(loss["name"]), **loss["params"]).floor(int(dataset["num_classes"]))
    return floor / float(record.training.get("loss_scale") or 1.0)


def warm_up_epochs(record: RunRecord) -> float:
    """Epochs at the beginning in which cross entropy was trained, in whole or in part; 0 without a warm-up."""
    share = _setting(record, "warmup", "share") + _setting(record, "warmup", "fade")
    return share * float(record.training.get("epochs") or 0.0)


def method_starts(record: RunRecord) -> dict[str, float]:
    """The epoch at which each training method of the run that begins later changes which rows or labels count."""
    shares = {name: _setting(record, name, key) for name, key in (("gate", "warmup"), ("refurbish", "start"))}
    epochs = float(record.training.get("epochs") or 0.0)
    return {name: share * epochs for name, share in shares.items() if 0.0 < share < 1.0 and epochs}


def _setting(record: RunRecord, name: str, key: str) -> float:
    """A share that a method of the run was given; 0 where the run was trained without that method."""
    names, params = str(record.method.get("name")).split("+"), record.method.get("params") or {}
    own = params if len(names) == 1 else params.get(name) or {}
    return float(own.get(key) or 0.0) if name in names else 0.0
