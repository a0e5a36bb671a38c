"""Splits made of listed image files, with the files that are absent dealt with; no builder of `datasets` does it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import datasets

from jal_hf.data.image_folder import image_rows
from jal_hf.data.lists import ImageFiles
from jal_hf.data.stream_dataset import MOST_UNREADABLE
from jal_hf.image_files import UnreadableImageError


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
