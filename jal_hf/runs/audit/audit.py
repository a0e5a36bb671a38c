"""The audit of a finished run: which of its training labels look wrong, and how noisy the data is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jal_hf.analysis.detection import DetectionScores, detection_scores
from jal_hf.analysis.estimates import (
    NoiseEstimate,
    confident_learning_scores,
    estimate_by_confident_learning,
    has_cleanlab,
)
from jal_hf.analysis.folds import check_folds, cross_validated_probabilities
from jal_hf.analysis.histograms import plot_confidence_histogram
from jal_hf.analysis.label_issues import FloatArray, LabelIssues, find_label_issues
from jal_hf.analysis.matrices import transition_matrix_figure
from jal_hf.analysis.predictions import example_losses, predict_logits, softmax
from jal_hf.analysis.report_page import render_report, write_report
from jal_hf.analysis.style import save_figure
from jal_hf.analysis.thumbnails import thumbnail_uris
from jal_hf.ground.files import write_json
from jal_hf.ground.record import RunRecord
from jal_hf.losses import create_loss
from jal_hf.runs.audit.fold_training import recipe_trainer
from jal_hf.runs.audit.run_data import RunData, load_run_data
from jal_hf.runs.config import RunConfig
from jal_hf.runs.repeat import config_of_run, refuse_strange_sources
from jal_hf.training.diagnostics import confidence_histogram

Summary = dict[str, Any]

THUMBNAIL_CHARACTERS = 12_000_000


@dataclass(frozen=True)
class Audit:
    """What an audit found; `out_of_sample` and the confident-learning figures only with folds."""

    folder: Path
    issues: LabelIssues
    summary: Summary


def audit_run(
    run: str | Path,
    *,
    dataset: Any = None,
    noise: str | None = None,
    folds: int = 0,
    top: int = 10_000,
    trust: bool = False,
    config: RunConfig | None = None,
) -> Audit:
    """Rank the run's training labels and write `RUN/audit/`: label_issues.parquet, report.html, summary.json.

    Args:
        run: Folder of a finished run.
        dataset: In place of the run's own: a name, or a Hugging Face dataset or dict of splits of the same classes.
        noise: Noise spec in place of the run's; with a dataset given it is `none` unless said.
        folds: At least 2 judges by out-of-sample probabilities: the recipe is trained that many times, each time
            without the rows it then judges.
        top: Rows listed on the page; the table holds all.
        trust: Data and weights that the record of a run made elsewhere names may be loaded.
        config: The run's settings, for records that keep none.

    Raises:
        ValueError, FileNotFoundError: Before any long work, for a folder without a finished run, a streaming run,
            impossible folds, or a record from elsewhere whose data is not trusted.
    """
    if folds == 1 or folds < 0:
        raise ValueError(
            f"{folds} folds were asked for; give 0 to judge by the run's own model, or at least 2."
        )
    if top < 1:
        raise ValueError(f"top is {top}; list at least one row on the page.")
    folder = Path(run)
    record = RunRecord.read(folder)
    target = folder / "audit"
    given = None if dataset is None or isinstance(dataset, str | Path) else dataset
    config = _settings(folder, record, config, dataset if given is None else None, noise, given is not None)
    refuse_strange_sources(folder, config, trust=trust or dataset is not None, with_model=folds > 0)
    loaded = load_run_data(
        folder, record, config, given=given, is_other_data=dataset is not None or noise is not None
    )
    if folds:
        check_folds(loaded.given, folds)
    logits = predict_logits(loaded.model, loaded.images)
    probabilities = softmax(logits)
    criterion = create_loss(str(record.loss["name"]), **{**record.loss["params"], "reduction": "none"})

    judged = probabilities
    if folds:
        trainer = recipe_trainer(config.replace(output_dir=str(target / "folds")), loaded.data)
        judged = cross_validated_probabilities(loaded.given, folds, int(record.seed or 0), trainer)
        # Only the softmax of the folds' logits is kept; its logarithm has that softmax again.
        logits = np.log(np.maximum(judged, np.finfo(np.float64).tiny))
    losses = example_losses(criterion, logits, loaded.given)
    issues = find_label_issues(judged, loaded.given, loaded.clean, index=loaded.index, losses=losses)
    summary = _summary(record, loaded, issues, probabilities, judged, folds)

    issues.write(target / "label_issues.parquet")
    _write_page(target, record, loaded, issues, summary, top)
    _write_plots(target, record, loaded, issues)
    write_json(target / "summary.json", summary)
    return Audit(target, issues, summary)


def _settings(
    folder: Path,
    record: RunRecord,
    config: RunConfig | None,
    dataset: str | Path | None,
    noise: str | None,
    is_object: bool,
) -> RunConfig:
    found = config_of_run(folder, record) if config is None and record.config else config
    if found is None:
        if not is_object and dataset is None:
            found = config_of_run(folder, record)  # says what is missing
        found = RunConfig.from_recipe("imagefolder", augment="none", loss=str(record.loss["name"]))
    changes: dict[str, Any] = {}
    if dataset is not None:
        changes["dataset"] = str(dataset)
    if noise is not None or is_object:
        changes["noise"] = noise or "none"
    return found.replace(**changes)


def _summary(
    record: RunRecord,
    loaded: RunData,
    issues: LabelIssues,
    in_sample: FloatArray,
    judged: FloatArray,
    folds: int,
) -> Summary:
    wrong = None if loaded.clean is None else loaded.given != loaded.clean
    rows = np.arange(loaded.given.size)

    def scored(confidence: FloatArray) -> dict[str, float | int] | None:
        found: DetectionScores | None = None if wrong is None else detection_scores(confidence, wrong)
        return None if found is None else found.to_dict()

    learned: NoiseEstimate | None = None
    scores = {"model": scored(in_sample[rows, loaded.given])}
    if folds:
        scores["folds"] = scored(judged[rows, loaded.given])
        if has_cleanlab():
            learned = estimate_by_confident_learning(judged, loaded.given)
            scores["confident_learning"] = scored(confident_learning_scores(judged, loaded.given))
    return {
        "schema": 1,
        "run": record.title,
        "rows": len(issues),
        "num_classes": int(judged.shape[1]),
        "judged_by": f"{folds}-fold cross-validation" if folds else "the run's own model",
        "differing": int((issues.given_label != issues.suggested_label).sum()),
        "realised_rate": None if wrong is None else float(wrong.mean()),
        "estimates": {
            "predictions": issues.estimate.to_dict(),
            "confident_learning": None if learned is None else learned.to_dict(),
        },
        "scores": scores,
        "warnings": loaded.warnings,
    }


def _facts(summary: Summary) -> dict[str, str]:
    facts = {
        "examples": f"{summary['rows']:,}",
        "given and suggested label differ": f"{summary['differing']:,}",
        "estimated noise rate": f"{100 * summary['estimates']['predictions']['rate']:.1f} %",
    }
    learned = summary["estimates"]["confident_learning"]
    if learned is not None:
        facts["by confident learning"] = f"{100 * learned['rate']:.1f} %"
    if summary["realised_rate"] is not None:
        facts["realised noise rate"] = f"{100 * summary['realised_rate']:.1f} %"
    scores = summary["scores"].get("folds") or summary["scores"]["model"]
    if scores is not None:
        facts["AUROC"] = f"{scores['auroc']:.4f}"
        facts["average precision"] = f"{scores['average_precision']:.4f}"
        facts["precision at the realised rate"] = f"{scores['precision_at_realised_rate']:.4f}"
    facts["judged by"] = summary["judged_by"]
    return facts


def _write_page(
    target: Path,
    record: RunRecord,
    loaded: RunData,
    issues: LabelIssues,
    summary: Summary,
    top: int,
) -> None:
    position = {int(number): place for place, number in enumerate(loaded.index)}
    first = (loaded.picture(position[int(number)]) for number in issues.index[:top])
    page = render_report(
        issues,
        loaded.class_names,
        title=record.title,
        facts=_facts(summary),
        thumbnails=thumbnail_uris(first, THUMBNAIL_CHARACTERS),
        top=top,
    )
    write_report(target / "report.html", page)


def _write_plots(target: Path, record: RunRecord, loaded: RunData, issues: LabelIssues) -> None:
    plots = target / "plots"
    estimated = issues.estimate.transition_matrix
    realised = None
    if loaded.clean is not None:
        counts = np.zeros_like(estimated)
        np.add.at(counts, (loaded.clean, loaded.given), 1.0)
        realised = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    figure = transition_matrix_figure(
        estimated, realised, loaded.class_names, ("estimated by the suggested labels", "realised")
    )
    save_figure(figure, plots / "transition_matrix")
    wrong = None if issues.clean_label is None else issues.given_label != issues.clean_label
    histogram = confidence_histogram(issues.self_confidence, wrong)
    plot_confidence_histogram(histogram, plots / "confidence_histogram", record.title)
