"""The texts, labels and model of a run on text, as an audit reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jal_hf.analysis.predictions import FloatArray
from jal_hf.data.column_values import integer_column
from jal_hf.ground.record import RunRecord
from jal_hf.runs.audit.run_data import RunData, check_classes, label_warnings
from jal_hf.runs.config import RunConfig
from jal_hf.runs.texts import load_text_classifier, text_data, text_logits


@dataclass(frozen=True)
class TextRunData(RunData):
    """`images` and `held_back` are the rows themselves, with `text`."""

    tokenizer: Any = None

    @property
    def has_pictures(self) -> bool:
        """Texts have none."""
        return False

    def names(self, split: str) -> list[str] | None:
        """The texts."""
        return [str(text) for text in self.data[split]["text"]]

    def logits(self, rows: Any, what: str) -> FloatArray:
        """(N, K) of the run's model."""
        return text_logits(self.model, self.tokenizer, rows["text"], what=what)


def load_text_run(
    run: Path, record: RunRecord, config: RunConfig, *, given: Any = None, is_other_data: bool = False
) -> TextRunData:
    """As `load_run_data`, of a run of `jal-hf finetune --task text`."""
    model, tokenizer = load_text_classifier(run)
    data = text_data(config, given, (record.finetune or {}).get("text_column"))
    check_classes(data, record)
    return TextRunData(
        data=data,
        model=model,
        images=data["train"],
        given=integer_column(data["train"], "label"),
        clean=None,
        index=integer_column(data["train"], "index"),
        class_names=[str(name) for name in data.class_names],
        warnings=label_warnings(data, record, is_other_data),
        held_back=data.get("validation"),
        run=run,
        tokenizer=tokenizer,
    )
