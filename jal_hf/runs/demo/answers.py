"""What the page says when somebody asks it, as plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jal_hf.hub.text import code
from jal_hf.runs.demo.library import gradio
from jal_hf.runs.demo.suspects import Suspect, read_suspects
from jal_hf.runs.prediction import load_classifier

ALL = "all classes"
SHOWN = 60
TOP = 5


class Answers:
    """A run's model and the suspects of its audit.

    Args:
        folder: of the run.
        name: what the user called it; stands in the command that is proposed.

    Attributes:
        suspects: Those of the audit, by rank; none without one.
        why_no_suspects: A sentence in Markdown where there are none.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._classify = load_classifier(folder, most=TOP)
        self.suspects: list[Suspect] = []
        self.why_no_suspects = "The audit found no label that it contradicts."
        try:
            self.suspects = read_suspects(folder)
        except FileNotFoundError:
            command = code(f"jal-hf audit {name}")
            self.why_no_suspects = (
                f"This run was not audited. {command} finds the labels that look wrong; start the demo again after it."
                if Path(name).is_dir()
                else "An audit shows pictures of the training data, so it stays where the data is: "
                "run `jal-hf audit` and `jal-hf demo` on the run's own folder."
            )

    def classify(self, picture: Any) -> dict[str, float] | None:
        """Probabilities of the likeliest classes by name, the likeliest first; None without a picture.

        Raises:
            gradio.Error: The file is no picture; the page shows the sentence.
        """
        if picture is None:
            return None
        try:
            answers = next(self._classify([picture]))
        except (ValueError, OSError) as error:
            raise gradio().Error(str(error).replace(str(picture), "the file")) from error
        return {str(answer["label"]): float(answer["score"]) for answer in answers}

    def given_classes(self) -> list[str]:
        """What the suspects can be filtered by: all, or one of their given classes."""
        return [ALL, *sorted({suspect.given for suspect in self.suspects})]

    def gallery(self, given: str) -> list[tuple[Any, str]]:
        """Pictures of the first suspects of a given class, or of all, each with its caption."""
        return [(suspect.enlarged(), suspect.caption) for suspect in self._filtered(given)]

    def suspect(self, given: str, place: int) -> tuple[list[tuple[str, str]], dict[str, float] | None]:
        """Facts of the suspect at this place of the gallery, and what the model makes of its picture."""
        suspect = self._filtered(given)[place]
        return suspect.facts, self.classify(suspect.picture)

    def _filtered(self, given: str) -> list[Suspect]:
        return [suspect for suspect in self.suspects if given in (ALL, suspect.given)][:SHOWN]
