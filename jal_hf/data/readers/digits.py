"""The built-in dataset: scikit-learn's handwritten digits, 1,797 grey images of 8 x 8 pixels, no download."""

from __future__ import annotations

import copy
import functools

import datasets
import numpy as np

from jal_hf.data.draws import selection_order

_TEST_SHARE = 0.2
_SPLIT_SEED = 0


def load_digits() -> datasets.DatasetDict:
    """Columns `image`, `label`, `index`; a fixed split of 80 / 20 in each class.

    Source: UCI Optical Recognition of Handwritten Digits, as shipped with scikit-learn.
    """
    # Whoever gets them may set a format; the rows themselves are shared.
    return copy.deepcopy(_digits())


@functools.cache
def _digits() -> datasets.DatasetDict:
    from PIL import Image
    from sklearn.datasets import load_digits as bundled_digits

    bunch = bundled_digits()
    # Values run from 0 to 16.
    pixels = np.round(bunch.images * (255.0 / 16.0)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    index = np.arange(len(labels), dtype=np.int64)
    is_test = np.zeros(len(labels), dtype=bool)
    order = selection_order(index, _SPLIT_SEED, purpose=0)
    for label in range(10):
        members = order[labels[order] == label]
        is_test[members[: round(_TEST_SHARE * len(members))]] = True
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=[str(number) for number in range(10)]),
            "index": datasets.Value("int64"),
        }
    )

    def rows(chosen: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> datasets.Dataset:
        images = [Image.fromarray(pixels[row]) for row in np.flatnonzero(chosen)]
        return datasets.Dataset.from_dict(
            {"image": images, "label": labels[chosen], "index": index[chosen]}, features=features
        )

    return datasets.DatasetDict({"train": rows(~is_test), "test": rows(is_test)})
