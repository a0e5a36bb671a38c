"""Lists of published datasets, lines of 'PATH LABEL' or 'PATH', and splits made of the images that they name.

No builder of `datasets` reads them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import datasets

from jal_hf.data.readers.image_folder import image_rows
from jal_hf.image_files import MOST_UNREADABLE, UnreadableImageError, regular_files


def leaves_folder(path: str) -> bool:
    """Whether a path that should lie below a folder is absolute or goes up."""
    parts = PurePath(path.replace("\\", "/"))
    return parts.is_absolute() or ".." in parts.parts


@dataclass(frozen=True)
class LabelList:
    """Paths with labels, and how many lines could not be used."""

    paths: list[str]
    labels: list[int]
    malformed: int


def read_label_list(path: Path, num_classes: int) -> LabelList:
    """Lines 'PATH LABEL' in order; lines of another form, with a label out of range or with a path that
    leads out of the folder are counted.

    Raises:
        FileNotFoundError: no such file.
    """
    paths: list[str] = []
    labels: list[int] = []
    malformed = 0
    for line in _lines(path):
        name, _, text = line.rpartition(" ")
        label = int(text) if text.isascii() and text.isdigit() else -1
        if not name.strip() or leaves_folder(name.strip()) or not 0 <= label < num_classes:
            malformed += 1
            continue
        paths.append(name.strip())
        labels.append(label)
    return LabelList(paths, labels, malformed)


def read_key_list(path: Path) -> tuple[list[str], int]:
    """Lines that are one path each, in order, and how many lines are not.

    Raises:
        FileNotFoundError: no such file.
    """
    keys: list[str] = []
    malformed = 0
    for line in _lines(path):
        if len(line.split()) == 1 and Path(line).suffix and not leaves_folder(line):
            keys.append(line)
        else:
            malformed += 1
    return keys, malformed


def _lines(path: Path) -> list[str]:
    """Non-empty lines, stripped; bytes that are no UTF-8 spoil their line, not the file."""
    if not path.is_file():
        raise FileNotFoundError(f"The list {path} is missing; the published dataset has it.")
    text = path.read_text(encoding="utf-8", errors="replace")
    return [stripped for line in text.splitlines() if (stripped := line.strip())]


class ImageFiles:
    """Which image files exist as regular files, looked up with one listing per folder instead of one call per image."""

    def __init__(self) -> None:
        self._listings: dict[str, frozenset[str]] = {}

    def exists(self, path: str) -> bool:
        folder, name = os.path.split(path)
        if folder not in self._listings:
            try:
                self._listings[folder] = regular_files(folder)
            except (FileNotFoundError, NotADirectoryError):
                self._listings[folder] = frozenset()
        return name in self._listings[folder]


def count_warnings(name: str, found: int, expected: int | None, malformed: int) -> list[str]:
    """Sentences on row counts that differ from the published ones and on lines that were skipped."""
    warnings = []
    if expected is not None and found != expected:
        warnings.append(f"{name} has {found:,} images; the published set has {expected:,}.")
    if malformed:
        warnings.append(f"{malformed} malformed line(s) of {name} were skipped.")
    return warnings


@dataclass
class ListedImages:
    """Builds the splits of one published dataset.

    Attributes:
        class_names: names in the order of the label ids.
        on_bad_image: `error` refuses an absent file, `skip` leaves it out, up to 5 % of a split.
        missing: rows left out so far.
        warnings: sentences collected so far.
    """

    class_names: list[str]
    on_bad_image: str
    missing: int = 0
    warnings: list[str] = field(default_factory=list)

    def split(self, name: str, paths: list[Path], labels: list[int]) -> datasets.Dataset:
        """Rows `image`, `label`, `index` (the line in the list) of one split.

        Raises:
            UnreadableImageError: an absent file, or more than 5 % of them.
        """
        files = ImageFiles()
        texts = [str(path) for path in paths]
        present = [row for row, text in enumerate(texts) if files.exists(text)]
        absent = len(texts) - len(present)
        if absent:
            is_present = set(present)
            first = next(row for row in range(len(texts)) if row not in is_present)
            if self.on_bad_image == "error" or absent > MOST_UNREADABLE * len(texts):
                advice = (
                    "" if self.on_bad_image != "error" else "; with on_bad_image=skip up to 5 % are left out"
                )
                raise UnreadableImageError(
                    f"{absent} of {len(texts)} image files of {name} are missing, the first is row {first}: "
                    f"{texts[first]}{advice}."
                )
            self.missing += absent
        rows = image_rows([texts[row] for row in present], [labels[row] for row in present], self.class_names)
        return rows.add_column("index", present)
