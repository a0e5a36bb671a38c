"""What an audit leaves behind: its figures, the page, and the plots."""

from __future__ import annotations

from collections.abc import Sequence
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
from jal_hf.analysis.histograms import plot_confidence_histogram
from jal_hf.analysis.judgement import Judgement
from jal_hf.analysis.label_issues import FloatArray, LabelIssues
from jal_hf.analysis.matrices import transition_matrix_figure
from jal_hf.analysis.picture_grid import label_captions, picture_grid_figure
from jal_hf.analysis.report_page import render_report, write_report
from jal_hf.analysis.style import save_figure
from jal_hf.analysis.thumbnails import thumbnail_uris
from jal_hf.ground.record import RunRecord
from jal_hf.runs.audit.cleaning import lost_class_warnings
from jal_hf.runs.audit.run_data import PROBE, RunData
from jal_hf.training.diagnostics import confidence_histogram

Summary = dict[str, Any]

THUMBNAIL_CHARACTERS = 12_000_000
WORST = 40


def audit_summary(
    record: RunRecord,
    loaded: RunData,
    issues: LabelIssues,
    in_sample: FloatArray,
    judged: FloatArray,
    judge: str,
    judgement: Judgement,
) -> Summary:
    wrong = None if loaded.clean is None else loaded.given != loaded.clean
    rows = np.arange(loaded.given.size)

    def scored(confidence: FloatArray) -> dict[str, float | int] | None:
        found: DetectionScores | None = None if wrong is None else detection_scores(confidence, wrong)
        return None if found is None else found.to_dict()

    learned: NoiseEstimate | None = None
    scores = {"model": scored(in_sample[rows, loaded.given])}
    if judgement.is_out_of_sample:
        scores["probe" if judge == PROBE else "folds"] = scored(judged[rows, loaded.given])
        if has_cleanlab():
            learned = estimate_by_confident_learning(judged, loaded.given)
            scores["confident_learning"] = scored(confident_learning_scores(judged, loaded.given))
    return {
        "schema": 1,
        "run": record.title,
        "rows": len(issues),
        "num_classes": int(judged.shape[1]),
        "judged_by": judge,
        "judgement": judgement.to_dict(),
        "differing": int((issues.given_label != issues.suggested_label).sum()),
        "realised_rate": None if wrong is None else float(wrong.mean()),
        "estimates": {
            "predictions": None if judgement.noise_rate is None else issues.estimate.to_dict(),
            "confident_learning": None if learned is None else learned.to_dict(),
        },
        "scores": scores,
        "warnings": [*loaded.warnings, *lost_class_warnings(judged, loaded.given, loaded.class_names)],
    }


def _facts(summary: Summary) -> dict[str, str]:
    rate = summary["judgement"]["noise_rate"]
    facts = {
        "examples": f"{summary['rows']:,}",
        "given and suggested label differ": f"{summary['differing']:,}",
        "estimated noise rate": "not known" if rate is None else f"{100 * rate:.1f} %",
    }
    if summary["suspects"] is not None:
        facts["suspects"] = f"{summary['suspects']:,}"
    learned = summary["estimates"]["confident_learning"]
    if learned is not None:
        facts["by confident learning"] = f"{100 * learned['rate']:.1f} %"
    if summary["realised_rate"] is not None:
        facts["realised noise rate"] = f"{100 * summary['realised_rate']:.1f} %"
    scores = summary["scores"].get("folds") or summary["scores"].get("probe") or summary["scores"]["model"]
    if scores is not None:
        facts["AUROC"] = f"{scores['auroc']:.4f}"
        facts["average precision"] = f"{scores['average_precision']:.4f}"
        facts["precision at the realised rate"] = f"{scores['precision_at_realised_rate']:.4f}"
    facts["judged by"] = summary["judged_by"]
    return facts


def write_page(
    target: Path,
    record: RunRecord,
    loaded: RunData,
    issues: LabelIssues,
    summary: Summary,
    top: int,
    files: Sequence[str] | None,
) -> None:
    position = {int(number): place for place, number in enumerate(loaded.index)}
    shown = top if loaded.has_pictures else 0
    first = (loaded.picture(position[int(number)]) for number in issues.index[:shown])
    page = render_report(
        issues,
        loaded.class_names,
        title=record.title,
        facts=_facts(summary),
        note=summary["judgement"]["reason"],
        files=files,
        has_pictures=loaded.has_pictures,
        thumbnails=thumbnail_uris(first, THUMBNAIL_CHARACTERS),
        top=top,
    )
    write_report(target / "report.html", page)


def write_plots(target: Path, record: RunRecord, loaded: RunData, issues: LabelIssues) -> list[Path]:
    """Draw the matrix, the histogram and the worst labels under `target/plots`; returns the files."""
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
    written = save_figure(figure, plots / "transition_matrix")
    wrong = None if issues.clean_label is None else issues.given_label != issues.clean_label
    histogram = confidence_histogram(issues.self_confidence, wrong)
    written += plot_confidence_histogram(histogram, plots / "confidence_histogram", record.title)
    worst = np.flatnonzero(issues.given_label != issues.suggested_label)[:WORST]
    if worst.size and loaded.has_pictures:
        position = {int(number): place for place, number in enumerate(loaded.index)}
        figure = picture_grid_figure(
            [loaded.picture(position[int(issues.index[place])]) for place in worst],
            label_captions(
                loaded.class_names, issues.given_label[worst].tolist(), issues.suggested_label[worst].tolist()
            ),
            f"given → suggested label: {record.title}",
        )
        written += save_figure(figure, plots / "worst_labels")
    return written
