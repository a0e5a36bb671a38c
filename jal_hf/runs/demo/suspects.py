"""The suspects of a run's audit, with the pictures that its page carries; the data itself is not needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from jal_hf.analysis.report_page import read_report
from jal_hf.analysis.style import shown, shown_apart
from jal_hf.analysis.thumbnails import picture_of_uri

LONGEST_NAME = 14
"""What the page's three columns have room for, twice."""
SMALLEST_SHOWN = 128


@dataclass(frozen=True)
class Suspect:
    """A training row whose label the judge contradicts.

    Attributes:
        picture: As the audit stored it, at most 64 pixels a side.
        given, suggested: Class names.
        clean: The true class's name, where it is known.
        p_given: What the judge makes of the given label, in [0, 1].
    """

    picture: Image.Image
    rank: int
    index: int
    file: str | None
    given: str
    suggested: str
    clean: str | None
    p_given: float

    @property
    def caption(self) -> str:
        """`3 → 8`: the given and the suggested class, on one line; long names without what they share."""
        given, suggested = shown_apart([self.given, self.suggested], LONGEST_NAME)
        return f"{given} → {suggested}"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Names and values of all that is known of the row, as plain text."""
        facts = [
            ("place in the audit", f"{self.rank:,}"),
            ("row", f"{self.index:,}"),
            ("given label", shown(self.given)),
            ("suggested label", shown(self.suggested)),
            ("p of the given label", f"{self.p_given:.4f}"),
        ]
        if self.file is not None:
            facts.insert(2, ("file", shown(self.file, 90)))
        if self.clean is not None:
            facts.append(("true label", shown(self.clean)))
        return facts

    def enlarged(self) -> Image.Image:
        """The picture at a size to look at, each pixel of a tiny one as a square."""
        factor = max(1, SMALLEST_SHOWN // max(self.picture.size))
        width, height = self.picture.size
        return self.picture.resize((factor * width, factor * height), Image.Resampling.NEAREST)


def read_suspects(folder: Path, most: int = 300) -> list[Suspect]:
    """The first suspects of the audit in a run's folder, by rank; none where it found none.

    Raises:
        FileNotFoundError: The run was not audited.
        ValueError: Its page cannot be read.
    """
    path = folder / "audit" / "report.html"
    content = read_report(path)
    try:
        return _suspects(content, most)
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no page of an audit: {type(error).__name__}: {error}.") from error


def _suspects(content: Mapping[str, Any], most: int) -> list[Suspect]:
    columns, files = content["columns"], content.get("files")
    names = [str(name) for name in content["class_names"]]
    clean: Sequence[int] | None = columns.get("clean_label")
    found: list[Suspect] = []
    for place, uri in enumerate(content["thumbnails"]):
        given, suggested = int(columns["given_label"][place]), int(columns["suggested_label"][place])
        if given == suggested:
            continue
        found.append(
            Suspect(
                picture=picture_of_uri(uri),
                rank=int(columns["rank"][place]),
                index=int(columns["index"][place]),
                file=None if files is None else str(files[place]),
                given=names[given],
                suggested=names[suggested],
                clean=None if clean is None else names[clean[place]],
                p_given=float(columns["self_confidence"][place]),
            )
        )
        if len(found) == most:
            break
    return found
