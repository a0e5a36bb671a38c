"""Clothing1M as published: images, key lists and label lists.

    FOLDER/noisy_train_key_list.txt  clean_train_key_list.txt  clean_val_key_list.txt  clean_test_key_list.txt
    FOLDER/noisy_label_kv.txt  FOLDER/clean_label_kv.txt      lines 'images/0/00/xxx.jpg 5'
    FOLDER/images/...
(the lists may also lie in FOLDER/annotations/).

Reference: Xiao et al., Learning from Massive Noisy Labeled Data for Image Classification, CVPR 2015.
"""

from __future__ import annotations

from pathlib import Path

from jal_hf.data.readers.listed_images import ListedImages, count_warnings, read_key_list, read_label_list
from jal_hf.data.readers.source import Source

CLASS_NAMES = (
    "T-Shirt", "Shirt", "Knitwear", "Chiffon", "Sweater", "Hoodie", "Windbreaker", "Jacket", "Down Coat",
    "Suit", "Shawl", "Dress", "Vest", "Underwear",
)  # fmt: skip
TRAIN_LIST = "noisy_train_key_list.txt"
_SPLITS = {
    # split: key list, label list, published number of images, always needed
    "train": (TRAIN_LIST, "noisy_label_kv.txt", 1_000_000, True),
    "clean_train": ("clean_train_key_list.txt", "clean_label_kv.txt", 47_570, False),
    "validation": ("clean_val_key_list.txt", "clean_label_kv.txt", 14_313, True),
    "test": ("clean_test_key_list.txt", "clean_label_kv.txt", 10_526, True),
}


def is_clothing1m(path: Path) -> bool:
    """Whether a folder has Clothing1M's lists."""
    return (path / TRAIN_LIST).is_file() or (path / "annotations" / TRAIN_LIST).is_file()


def read_clothing1m(name: str, path: Path, *, on_bad_image: str = "error") -> Source:
    """Splits `train` (noisy labels), `validation`, `test` and, where listed, `clean_train`.

    Args:
        name: for the record.
        path: the folder.
        on_bad_image: `error` or `skip`, for absent files.

    Raises:
        FileNotFoundError: a list is missing.
        ValueError: absent images.
    """
    lists = path if (path / TRAIN_LIST).is_file() else path / "annotations"
    builder = ListedImages(list(CLASS_NAMES), on_bad_image)
    labels: dict[str, dict[str, int]] = {}
    splits = {}
    for split, (keys_file, labels_file, published, is_needed) in _SPLITS.items():
        if not is_needed and not (lists / keys_file).is_file():
            continue
        if labels_file not in labels:
            labels[labels_file] = _labels(builder, lists / labels_file)
        known = labels[labels_file]
        keys, malformed = read_key_list(lists / keys_file)
        kept = [key for key in keys if key in known]
        builder.warnings += count_warnings(keys_file, len(kept), published, malformed)
        if len(kept) < len(keys):
            builder.warnings.append(
                f"{len(keys) - len(kept)} image(s) of {keys_file} have no label in {labels_file}; left out."
            )
        splits[split] = builder.split(keys_file, [path / key for key in kept], [known[key] for key in kept])
    return Source(name, splits, "train", "test", builder.missing, tuple(builder.warnings))


def _labels(builder: ListedImages, path: Path) -> dict[str, int]:
    lines = read_label_list(path, len(CLASS_NAMES))
    if lines.malformed:
        builder.warnings.append(f"{lines.malformed} malformed line(s) of {path.name} were skipped.")
    return dict(zip(lines.paths, lines.labels, strict=True))
