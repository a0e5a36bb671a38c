"""A dataset as it was found, before anything is checked, and what its reader was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import datasets

Splits: TypeAlias = Mapping[str, datasets.Dataset | datasets.IterableDataset]


@dataclass(frozen=True)
class ReadOptions:
    """What a reader may need to know beside the name.

    Attributes:
        config: configuration name of a Hub dataset.
        streaming: rows come as they are read.
        num_classes: number of classes of a stream that cannot be counted.
        on_bad_image: `error` or `skip`, for listed files that are absent.
        image_column: name of the images, or of their paths in a table; None finds it.
        label_column: name of the labels; None finds it.
        has_images: the rows show images, so that a column of their paths is opened; not those of text.
    """

    config: str | None = None
    streaming: bool = False
    num_classes: int | None = None
    on_bad_image: str = "error"
    image_column: str | None = None
    has_images: bool = True
    label_column: str | None = None


@dataclass(frozen=True)
class Source:
    """Splits and what their reader knows.

    Attributes:
        name: as the user gave it.
        splits: by name; `datasets.Dataset`, or `IterableDataset` for a stream.
        train_split: the split to train on, where the layout says so.
        eval_split: the split to test on, where the layout says so.
        more_tests: further test splits, kept under their own names.
        missing_images: rows left out because their image file is absent.
        warnings: what the reader noticed.
        manifest: what `jal-hf noise` wrote about the labels, where it made the folder.
        folder: where the names of its image files start, for image folders and tables; for this machine only.
        layout: `class folders` or `table`, where the images are files that these label.
    """

    name: str
    splits: Splits
    train_split: str | None = None
    eval_split: str | None = None
    missing_images: int = 0
    warnings: tuple[str, ...] = ()
    manifest: Mapping[str, Any] | None = None
    more_tests: tuple[str, ...] = ()
    folder: str | None = None
    layout: str | None = None
