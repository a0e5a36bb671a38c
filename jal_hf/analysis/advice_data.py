"""The noise that advice is asked for: of a spec, of a dataset's own clean labels, or estimated."""

from __future__ import annotations

from typing import Any

import numpy as np

from jal_hf.analysis.advice import NoiseFacts, kind_of_matrix
from jal_hf.analysis.simple_model import SimpleEstimate, estimate_noise, small_image_features
from jal_hf.data.images.encoded import stored_pictures
from jal_hf.noise import create_noise

ESTIMATE_ROWS = 10_000


def noise_of_spec(spec: str, num_classes: int) -> NoiseFacts:
    """The noise of a spec without looking at data.

    ValueError for kinds that have no transition matrix on their own, such as instance-dependent ones.
    """
    noise = create_noise(spec, num_classes=num_classes)
    matrix = noise.transition_matrix()
    if matrix is None:
        raise ValueError(
            f"The noise {spec!r} depends on the images or on a file, so it has a matrix only on a dataset; "
            "give the dataset too."
        )
    rate = float((1.0 - np.diag(matrix)).mean())
    kind = kind_of_matrix(matrix) if noise.kind == "matrix" else noise.kind
    return NoiseFacts(kind, rate, matrix, f"the asked matrix of {spec}")


def noise_of_data(data: Any, spec: str) -> NoiseFacts:
    """The noise drawn on a loaded dataset: its asked matrix, or the realised one where it has none.

    ValueError when nothing tells the noise, neither a spec nor known clean labels.
    """
    report = data.noise_report
    if report is None or (report.kind == "none" and "clean_label" not in data["train"].column_names):
        raise ValueError(
            "Nothing is known of the noise of this dataset; give --noise SPEC if you know it, "
            "or --estimate to have it estimated."
        )
    asked = report.transition_matrix
    if asked is not None and report.kind not in {"none", "labels", "human"}:
        matrix, source = np.asarray(asked), f"the asked matrix of {spec}"
    else:
        clean = np.asarray(data["train"]["clean_label"][:])
        given = np.asarray(data["train"][data.label_column][:])
        counts = np.zeros((data.num_classes, data.num_classes))
        np.add.at(counts, (clean, given), 1.0)
        totals = counts.sum(axis=1, keepdims=True)
        matrix = np.divide(counts, totals, out=np.eye(data.num_classes), where=totals > 0)
        source = "counted against the clean labels"
    kind = kind_of_matrix(matrix) if report.kind in {"none", "labels", "matrix"} else report.kind
    rate = report.realised_rate if report.realised_rate else float((1.0 - np.diag(matrix)).mean())
    return NoiseFacts(kind, rate, matrix, source)


def estimated_noise(data: Any, folds: int = 5, seed: int = 0) -> tuple[NoiseFacts, SimpleEstimate]:
    """The noise of a loaded dataset as a simple cross-validated model sees it, on at most 10,000 rows."""
    rows = data["train"]
    if len(rows) > ESTIMATE_ROWS:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:ESTIMATE_ROWS])
        rows = rows.select(chosen)
    features = small_image_features(stored_pictures(rows, data.image_column))
    labels = np.asarray(rows[data.label_column][:], dtype=np.int64)
    found = estimate_noise(features, labels, folds, seed)
    matrix = found.estimate.transition_matrix
    source = f"estimated by a simple model on {found.rows:,} rows, {folds} folds"
    return NoiseFacts(kind_of_matrix(matrix), found.estimate.rate, matrix, source), found
