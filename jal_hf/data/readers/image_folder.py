"""Images in class folders: FOLDER/train/CLASS/*.jpg, FOLDER/test/CLASS/*.jpg, or FOLDER/CLASS/*.jpg.

The imagefolder builder of `datasets` drops all labels where a class folder has subfolders, gives classes that only
the test split has an output, and takes endings of formats that are not decoded here, so it is not used.
"""

from __future__ import annotations

import os
from pathlib import Path

import datasets

from jal_hf.data.columns import SPLIT_NAMES
from jal_hf.data.readers.source import Source
from jal_hf.ground.image_files import has_image_ending, regular_files
from jal_hf.ground.sentences import listed


def split_folders(path: Path) -> dict[str, Path]:
    """Subfolders named after a split, by split name."""
    found = {}
    for entry in sorted(path.iterdir()):
        if entry.is_dir() and entry.name.lower() in SPLIT_NAMES:
            found[SPLIT_NAMES[entry.name.lower()]] = entry
    return found


def looks_like_image_folder(path: Path) -> bool:
    """Whether a folder holds class folders with images, with or without split folders around them."""
    roots = split_folders(path)
    root = roots.get("train", path) if roots else path
    return any(_holds_image(folder) for folder in _subfolders(root))


def _subfolders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _holds_image(folder: Path) -> bool:
    names = (name for _, _, files in os.walk(folder) for name in files)
    return any(has_image_ending(name) for name in names)


def read_image_folder(name: str, path: Path) -> Source:
    """One row a file, in sorted order; classes are the sorted folder names of the training split.

    Files that are not images by their ending are counted in a warning.

    Raises:
        ValueError: another split has a class folder that the training split has not.
    """
    roots = split_folders(path) or {"train": path}
    first = "train" if "train" in roots else next(iter(roots))
    classes = [folder.name for folder in _subfolders(roots[first])]
    warnings: list[str] = []
    splits = {}
    for split_name, root in roots.items():
        names = [folder.name for folder in _subfolders(root)]
        unseen = [entry for entry in names if entry not in classes]
        if unseen:
            raise ValueError(
                f"The folder {root} has class folders that {roots[first]} has not: {listed(unseen[:5])}. "
                "The model would have no output for them."
            )
        paths, labels = _files(root, classes, warnings)
        splits[split_name] = image_rows(paths, labels, classes)
    return Source(name, splits, warnings=tuple(warnings), folder=str(path))


def _files(root: Path, classes: list[str], warnings: list[str]) -> tuple[list[str], list[int]]:
    paths: list[str] = []
    labels: list[int] = []
    others = irregular = 0
    for label, class_name in enumerate(classes):
        for folder, subfolders, files in os.walk(root / class_name):
            subfolders.sort()
            regular = regular_files(folder)
            for file in sorted(files):
                if not has_image_ending(file) or file.startswith("."):
                    others += 1
                elif file not in regular:
                    irregular += 1
                else:
                    paths.append(os.path.join(folder, file))
                    labels.append(label)
    if others:
        warnings.append(f"{others} file(s) in {root.name!r} are no images by their ending and were left out.")
    if irregular:
        warnings.append(
            f"{irregular} entr{'y' if irregular == 1 else 'ies'} in {root.name!r} named like images are no regular "
            "files (pipes, devices, broken links) and were left out."
        )
    return paths, labels


def image_rows(paths: list[str], labels: list[int], class_names: list[str]) -> datasets.Dataset:
    """Dataset of image paths (read when used) and labels."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=class_names)})
    return datasets.Dataset.from_dict({"image": paths, "label": labels}, features=features)
