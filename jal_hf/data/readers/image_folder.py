"""Images in class folders: FOLDER/train/CLASS/*.jpg, FOLDER/test/CLASS/*.jpg, or FOLDER/CLASS/*.jpg.

The imagefolder builder of `datasets` drops all labels where a class folder has subfolders, gives classes that only
the test split has an output, and takes endings of formats that are not decoded here, so it is not used.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import datasets

from jal_hf.data.columns import SPLIT_NAMES
from jal_hf.data.readers.run_folders import holds_runs, is_written_by_run
from jal_hf.data.readers.source import Source
from jal_hf.ground.image_files import has_image_ending, regular_files
from jal_hf.ground.sentences import listed

_LEFTOVERS = ("__MACOSX", "@eaDir")
"""Folders that macOS and Synology put beside files; other programs' begin with a dot."""

_PROGRAMS = frozenset((".ipynb_checkpoints", ".thumbnails", ".git", ".cache", ".replaced", ".replacing"))
"""Those that begin with a dot and hold no images of a person's."""

_RENAME = "Rename what is named so."


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
    """The folders in a folder that may be classes or splits, in order."""
    return [entry for entry in _folders(path) if not (is_leftover(entry.name) or _is_of_runs(entry))]


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir())


def _is_of_runs(folder: Path) -> bool:
    return holds_runs(folder) or is_written_by_run(folder)


def is_leftover(name: str) -> bool:
    """Whether a folder of that name is one that programs leave behind."""
    return name.startswith(".") or name in _LEFTOVERS


def _walk(folder: Path, of_runs: list[str] | None = None) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, in sorted order and without the folders that programs leave behind and those of runs.

    The latter are added to `of_runs`.
    """
    for place, subfolders, files in os.walk(folder):
        left = [
            name for name in subfolders if not is_leftover(name) and holds_runs(os.path.join(place, name))
        ]
        if of_runs is not None:
            of_runs += [os.path.join(place, name) for name in left]
        subfolders[:] = sorted(name for name in subfolders if not is_leftover(name) and name not in left)
        yield place, subfolders, sorted(files)


def holds_image(folder: Path) -> bool:
    """Whether an image lies in the folder or below it."""
    return any(has_image_ending(name) for _, _, files in _walk(folder) for name in files)


def image_files(folder: Path) -> list[str]:
    """The image files in a folder and below it, in order, as far as a training on it would read them."""
    found: list[str] = []
    for place, _, files in _walk(folder):
        regular = regular_files(place)
        found += [
            os.path.join(place, file)
            for file in files
            if has_image_ending(file) and not file.startswith(".") and file in regular
        ]
    return found


def read_image_folder(name: str, path: Path) -> Source:
    """One row a file, in sorted order; classes are the sorted folder names of the training split.

    Left out with a warning are files that are not images by their ending, images whose name begins with a dot or is no
    UTF-8, those in no class folder, linked folders inside a class, folders of runs, and folders beside those of the
    splits.

    Raises:
        ValueError: another split has a class folder that the training split has not.
    """
    found = split_folders(path)
    roots = found or {"train": path}
    first = "train" if "train" in roots else next(iter(roots))
    if not is_utf8(str(path.absolute())):
        raise ValueError(
            f"The path of the folder {name!r} is no UTF-8, and tables hold no other text. {_RENAME}{locale_hint()}"
        )
    classes = [folder.name for folder in _subfolders(roots[first]) if is_utf8(folder.name)]
    warnings: list[str] = []
    beside = [folder for folder in _subfolders(path) if found and folder not in found.values()]
    if unused := [folder.name for folder in beside if holds_image(folder)]:
        warnings.append(
            f"Images in {listed(unused[:5])}, beside the folders of the splits, are of no split and were not used."
        )
    splits = {}
    for split_name, root in roots.items():
        names = [folder.name for folder in _subfolders(root) if is_utf8(folder.name)]
        unseen = [entry for entry in names if entry not in classes]
        if unseen:
            raise ValueError(
                f"The folder {root} has class folders that {roots[first]} has not: {listed(unseen[:5])}. "
                "The model would have no output for them."
            )
        paths, labels = _files(root, classes, warnings)
        splits[split_name] = image_rows(paths, labels, classes)
    return Source(name, splits, warnings=tuple(warnings), folder=str(path), layout="class folders")


def is_utf8(text: str) -> bool:
    """Whether a name from the disk is whole text, as the tables of `datasets` need it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def locale_hint() -> str:
    """What to do where this process reads names of files in another encoding than UTF-8; else nothing."""
    encoding = sys.getfilesystemencoding()
    if encoding.lower().replace("-", "") == "utf8":
        return ""
    return f" Names are read as {encoding} here; with PYTHONUTF8=1 they are read as UTF-8."


def _files(root: Path, classes: list[str], warnings: list[str]) -> tuple[list[str], list[int]]:
    paths: list[str] = []
    labels: list[int] = []
    others = irregular = links = 0
    dotted: list[str] = []
    odd = [folder.name for folder in _subfolders(root) if not is_utf8(folder.name)]
    of_runs = [
        str(folder) for folder in _folders(root) if not is_leftover(folder.name) and _is_of_runs(folder)
    ]
    for label, class_name in enumerate(classes):
        for folder, subfolders, files in _walk(root / class_name, of_runs):
            links += sum(os.path.islink(os.path.join(folder, subfolder)) for subfolder in subfolders)
            regular = regular_files(folder)
            for file in files:
                path = os.path.join(folder, file)
                if not has_image_ending(file):
                    others += 1
                elif file.startswith("."):
                    dotted.append(file)
                elif file not in regular:
                    irregular += 1
                elif not is_utf8(path):
                    odd.append(os.path.relpath(path, root))
                else:
                    paths.append(path)
                    labels.append(label)
    name = root.resolve().name
    if others:
        warnings.append(f"{others} file(s) in {name!r} are no images by their ending and were left out.")
    if dotted:
        warnings.append(
            f"{len(dotted)} file(s) in {name!r} have names that begin with a dot, such as {dotted[0]!r}, and were left "
            "out."
        )
    if irregular:
        warnings.append(
            f"{irregular} entr{'y' if irregular == 1 else 'ies'} in {name!r} named like images are no regular "
            "files (pipes, devices, broken links) and were left out."
        )
    if links:
        warnings.append(
            f"{links} linked folder(s) inside the classes of {name!r} were not entered, so their images were left "
            "out; link the class folder itself, or copy them."
        )
    if odd:
        warnings.append(
            f"{len(odd)} name(s) in {name!r} are no UTF-8 and were left out: {listed(odd[:5])}. "
            f"{_RENAME}{locale_hint()}"
        )
    if of_runs:
        shown = listed(os.path.relpath(folder, root) for folder in of_runs[:5])
        warnings.append(
            f"{len(of_runs)} folder(s) in {name!r} hold runs or exports of jal_hf, no data, and were left out: {shown}."
        )
    _warn_of_unclassed(root, name, warnings)
    return paths, labels


def _warn_of_unclassed(root: Path, name: str, warnings: list[str]) -> None:
    """Say which images lie beside the class folders, or in folders that begin with a dot as none of a class does."""
    loose = [
        file for file in sorted(regular_files(root)) if has_image_ending(file) and not file.startswith(".")
    ]
    if loose:
        warnings.append(
            f"{len(loose)} image(s) lie directly in {name!r}, in no class folder, and were left out, such as "
            f"{loose[0]!r}."
        )
    for folder in _folders(root):
        if (
            folder.name.startswith(".")
            and folder.name not in _PROGRAMS
            and (count := len(image_files(folder)))
        ):
            warnings.append(
                f"{count} image(s) in {folder.name!r} in {name!r} were left out: names of classes do not begin with "
                "a dot."
            )


def image_rows(paths: list[str], labels: list[int], class_names: list[str]) -> datasets.Dataset:
    """Dataset of image paths (read when used) and labels.

    Raises:
        ValueError: a path is no UTF-8; its row is named.
    """
    odd = next((row for row, path in enumerate(paths) if not is_utf8(path)), None)
    if odd is not None:
        raise ValueError(f"Row {odd} names {paths[odd]!r}, which is no UTF-8. {_RENAME}{locale_hint()}")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=class_names)})
    return datasets.Dataset.from_dict({"image": paths, "label": labels}, features=features)
