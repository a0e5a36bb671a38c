"""Lists of published datasets, lines of 'PATH LABEL' or 'PATH', and splits made of the images that they name.

No builder of `datasets` reads them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import datasets

from jal_hf.data.readers.image_folder import image_rows
from jal_hf.ground.image_files import MOST_UNREADABLE, UnreadableImageError, regular_files


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


@dataclass
class PresentFiles:
    """Which listed image files are there as regular files, by one listing a folder instead of one call an image.

    Attributes:
        on_bad_image: `error` refuses an absent file, `skip` leaves it out, up to 5 % of a split.
        missing: rows left out so far.
    """

    on_bad_image: str
    missing: int = 0
    _listings: dict[str, frozenset[str]] = field(default_factory=dict)

    def rows(self, name: str, paths: Sequence[str]) -> list[int]:
        """Numbers of the rows whose file is there.

        Raises:
            UnreadableImageError: an absent file, or more than 5 % of them.
        """
        present = [row for row, path in enumerate(paths) if self._exists(path)]
        absent = len(paths) - len(present)
        if absent == 0:
            return present
        is_present = set(present)
        first = next(row for row in range(len(paths)) if row not in is_present)
        if self.on_bad_image == "error" or absent > MOST_UNREADABLE * len(paths):
            advice = "" if self.on_bad_image != "error" else "; with on_bad_image=skip up to 5 % are left out"
            raise UnreadableImageError(
                f"{absent} of {len(paths)} image files of {name} are missing, the first is row {first}: "
                f"{paths[first] or 'an empty cell'}{advice}."
            )
        self.missing += absent
        return present

    def _exists(self, path: str) -> bool:
        folder, name = os.path.split(path)
        if folder not in self._listings:
            try:
                self._listings[folder] = regular_files(folder)
            except OSError:
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
        warnings: sentences collected so far.
    """

    class_names: list[str]
    on_bad_image: str
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.files = PresentFiles(self.on_bad_image)

    @property
    def missing(self) -> int:
        """Rows left out so far."""
        return self.files.missing

    def split(self, name: str, paths: list[Path], labels: list[int]) -> datasets.Dataset:
        """Rows `image`, `label`, `index` (the line in the list) of one split.

        Raises:
            UnreadableImageError: an absent file, or more than 5 % of them.
        """
        present = self.files.rows(name, [str(path) for path in paths])
        rows = image_rows(
            [str(paths[row]) for row in present], [labels[row] for row in present], self.class_names
        )
        return rows.add_column("index", present)
