"""Images in class folders: FOLDER/train/CLASS/*.jpg, FOLDER/test/CLASS/*.jpg, or FOLDER/CLASS/*.jpg.

The imagefolder builder of `datasets` drops all labels where a class folder has subfolders, gives classes that only
the test split has an output, and takes endings of formats that are not decoded here, so it is not used.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import datasets

from jal_hf.data.columns import SPLIT_NAMES
from jal_hf.data.readers.source import Source
from jal_hf.ground.image_files import has_image_ending, regular_files
from jal_hf.ground.sentences import listed

_LEFTOVERS = ("__MACOSX", "@eaDir")
"""Folders that macOS and Synology put beside files; other programs' begin with a dot."""


def split_folders(path: Path) -> dict[str, Path]:
    """Subfolders named after a split, by split name; none where they hold images themselves, as classes do.

    Raises:
        ValueError: two of them are named after one split.
    """
    found: dict[str, Path] = {}
    for entry in _subfolders(path):
        split = SPLIT_NAMES.get(entry.name.lower())
        if split is None:
            continue
        if split in found:
            raise ValueError(
                f"The folders {found[split].name!r} and {entry.name!r} in {path} are both named after the split "
                f"{split!r}; put their images together, or move one of them elsewhere."
            )
        found[split] = entry
    is_classes = "train" not in found and all(
        holds_image(folder) and not _subfolders(folder) for folder in found.values()
    )
    return {} if is_classes else found


def looks_like_image_folder(path: Path, least: int = 1) -> bool:
    """Whether a folder holds at least so many class folders with images, with or without split folders around them."""
    roots = split_folders(path)
    root = roots.get("train", path) if roots else path
    holding = (folder for folder in _subfolders(root) if holds_image(folder))
    return len(list(itertools.islice(holding, least))) == least


def _subfolders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not _is_leftover(entry.name))


def _is_leftover(name: str) -> bool:
    return name.startswith(".") or name in _LEFTOVERS


def _walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, in sorted order and without the folders that programs leave behind."""
    for place, subfolders, files in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not _is_leftover(name))
        yield place, subfolders, sorted(files)


def holds_image(folder: Path) -> bool:
    """Whether an image lies in the folder or below it."""
    return any(has_image_ending(name) for _, _, files in _walk(folder) for name in files)


def read_image_folder(name: str, path: Path) -> Source:
    """One row a file, in sorted order; classes are the sorted folder names of the training split.

    Files that are not images by their ending, linked folders inside a class, and folders beside those of the splits
    are left out with a warning.

    Raises:
        ValueError: another split has a class folder that the training split has not.
    """
    found = split_folders(path)
    roots = found or {"train": path}
    first = "train" if "train" in roots else next(iter(roots))
    classes = [folder.name for folder in _subfolders(roots[first])]
    warnings: list[str] = []
    beside = [folder for folder in _subfolders(path) if found and folder not in found.values()]
    if unused := [folder.name for folder in beside if holds_image(folder)]:
        warnings.append(
            f"Images in {listed(unused[:5])}, beside the folders of the splits, are of no split and were not used."
        )
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
    others = irregular = links = 0
    for label, class_name in enumerate(classes):
        for folder, subfolders, files in _walk(root / class_name):
            links += sum(os.path.islink(os.path.join(folder, subfolder)) for subfolder in subfolders)
            regular = regular_files(folder)
            for file in files:
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
    if links:
        warnings.append(
            f"{links} linked folder(s) inside the classes of {root.name!r} were not entered, so their images were left "
            "out; link the class folder itself, or copy them."
        )
    return paths, labels


def image_rows(paths: list[str], labels: list[int], class_names: list[str]) -> datasets.Dataset:
    """Dataset of image paths (read when used) and labels."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=class_names)})
    return datasets.Dataset.from_dict({"image": paths, "label": labels}, features=features)
