"""How noisy a dataset is, judged by a simple model under cross-validation: minutes, not a training run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from jal_hf.analysis.estimates import NoiseEstimate, estimate_by_confident_learning
from jal_hf.analysis.folds import IntArray, check_folds, cross_validated_probabilities
from jal_hf.analysis.label_issues import FloatArray
from jal_hf.ground.image_files import as_mode, is_grey

SIDE = 16


@dataclass(frozen=True)
class SimpleEstimate:
    """`agreement`: share of rows, in [0, 1], whose held-out prediction is the given label."""

    estimate: NoiseEstimate
    agreement: float
    rows: int


class TotalVariance(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Scales features as a whole to a total variance of 1, which fixes the width of the kernel after it."""

    def fit(self, features: npt.NDArray[np.float32], labels: Any = None) -> TotalVariance:
        """Measure the total variance of features (N, D)."""
        self.scale_ = float(np.sqrt(features.var(axis=0).sum())) or 1.0
        return self

    def transform(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The features (N, D) over the scale."""
        return features / np.float32(self.scale_)


def small_image_features(images: Sequence[Any], side: int = SIDE) -> npt.NDArray[np.float32]:
    """Pixels of each image, (N, side * side * channels) in [0, 1]; one channel if all are grey."""
    pictures = [
        image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image, dtype=np.uint8))
        for image in images
    ]
    mode = "L" if all(is_grey(picture.mode) for picture in pictures) else "RGB"
    rows = [
        np.asarray(as_mode(picture, mode).resize((side, side), Image.Resampling.BILINEAR)).reshape(-1)
        for picture in pictures
    ]
    return np.stack(rows).astype(np.float32) / 255.0


def estimate_noise(
    features: npt.NDArray[np.float32], labels: IntArray, folds: int = 5, seed: int = 0
) -> SimpleEstimate:
    """Noise of (N,) labels by confident learning on held-out probabilities from (N, D) features.

    The model, a logistic regression on random kernel features, makes mistakes of its own, and each of them
    counts as noise, so the rate is too high where the features tell the classes apart badly. It is too low where wrong
    labels follow the features, as instance-dependent noise does: the model learns them.
    ValueError for a class without examples or too many folds, ImportError without cleanlab.
    """
    classes = int(labels.max()) + 1
    absent = np.setdiff1d(np.arange(classes), labels)
    if absent.size:
        raise ValueError(
            f"Classes {absent[:5].tolist()} have no example, so their noise cannot be estimated; "
            "give a dataset, or more rows of it, with every class."
        )
    check_folds(labels, folds)

    def train(training_rows: IntArray, held_out: IntArray) -> FloatArray:
        model = _model(features.shape[1], len(training_rows), seed)
        model.fit(features[training_rows], labels[training_rows])
        return np.asarray(model.predict_proba(features[held_out]), dtype=np.float64)

    probabilities = cross_validated_probabilities(labels, folds, seed, train)
    return SimpleEstimate(
        estimate_by_confident_learning(probabilities, labels),
        agreement=float((probabilities.argmax(axis=1) == labels).mean()),
        rows=int(labels.size),
    )


def _model(dimensions: int, rows: int, seed: int) -> Pipeline:
    return make_pipeline(
        PCA(min(48, dimensions, rows), random_state=seed),
        TotalVariance(),
        Nystroem(gamma=1.0, n_components=min(400, rows), random_state=seed),
        LogisticRegression(C=3.0, max_iter=100),
    )
