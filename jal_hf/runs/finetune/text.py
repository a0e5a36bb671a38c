"""Fine-tuning for text: the same stages and the same comparison, with a transformers encoder and its tokenizer."""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import torch
from tqdm.auto import tqdm
from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, set_seed

from jal_hf.analysis.judgement import Judgement, find_suspects, judge_labels
from jal_hf.data.column_values import integer_column
from jal_hf.data.text import equal_texts
from jal_hf.ground.files import read_object, whole_file, write_json, write_text
from jal_hf.ground.record import RunRecord
from jal_hf.ground.sentences import shortened
from jal_hf.models import freeze, start_head
from jal_hf.runs.audit.run_data import PROBE_FILE
from jal_hf.runs.config import RunConfig
from jal_hf.runs.finetune.candidates import PLAIN, PROBE, ROBUST, Candidate, choose, finished_candidate
from jal_hf.runs.finetune.probe import LOSS, fit_probe, out_of_fold, row_weights
from jal_hf.runs.folder import find_start
from jal_hf.runs.protocol import changed_setting
from jal_hf.runs.recording import facts_of_config
from jal_hf.runs.texts import BATCH, Texts, fitting_tokenizer, text_logits, to_accelerator
from jal_hf.runs.trainer import JALTrainer

LEARNING_RATE = 5e-5
"""Of a pretrained encoder."""
SUSPECTS, SETTINGS = "suspects.csv", "settings.json"


@dataclass(frozen=True)
class TextStages:
    """The models compared, which of them is the best and why, the judgement, and how many labels are suspect."""

    found: dict[str, Candidate]
    best: Candidate
    reason: str
    judgement: Judgement
    suspects: int | None


def text_stages(
    config: RunConfig,
    data: Any,
    tokenizer: Any,
    contents: Mapping[str, npt.NDArray[np.uint64]],
    stages: Path,
    config_of: Callable[[str], RunConfig],
    say: Callable[[str], None],
) -> TextStages:
    """Judge the labels by a probe, train the robust model and cross entropy, and compare all three.

    The probe sees the mean of all tokens, which no classifier of transformers does, so it is compared and not exported.

    Args:
        tokenizer: as `check_encoder` found it.
        contents: digests of the texts, by split.
        stages: folder of what is kept between the stages, and of `suspects.csv`.
        config_of: the config of a candidate, by its name.
    """
    quiet = bool(config.training.get("disable_tqdm"))
    order = [name for name in ("train", "validation", "test") if name in data]
    stored = stages / "features.npy"
    if not stored.is_file():
        rows = datasets.concatenate_datasets([data[name] for name in order])
        features = text_features(config, Texts(rows, tokenizer), tokenizer, data.num_classes, quiet)
        with whole_file(stored) as temporary, temporary.open("wb") as file:
            np.save(file, features)
    features = np.load(stored, mmap_mode="r")
    labels = np.concatenate([integer_column(data[name], "label") for name in order])
    ends = np.cumsum([0, *(len(data[name]) for name in order)])
    parts = {name: np.arange(first, last) for name, first, last in zip(order, ends, ends[1:], strict=False)}
    train, given = parts["train"], labels[parts["train"]]
    groups, _ = equal_texts(data["train"])
    judged = out_of_fold(
        features, labels, train, data.num_classes, groups=groups, seed=config.seed, quiet=quiet
    )
    probabilities = judged.astype(np.float64)
    probe = fit_probe(features, labels, train, data.num_classes, config.seed)
    held = parts.get("validation", train[:0])
    with whole_file(stages / Path(PROBE_FILE).name) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            index=np.concatenate([integer_column(data[name], "index") for name in order if name != "test"]),
            labels=labels[np.concatenate([train, held])],
            contents=np.concatenate([contents[name] for name in order if name != "test"]),
            probabilities=np.concatenate([judged, probe.probabilities(features, held)]),
        )
    judgement = judge_labels(probabilities, given, is_out_of_sample=True)
    say(judgement.reason)
    suspects = None
    (stages.parent / SUSPECTS).unlink(missing_ok=True)
    if judgement.noise_rate is not None:
        marked = find_suspects(probabilities, given, judgement)
        suspects = int(marked.sum())
        _write_suspects(stages.parent / SUSPECTS, data, probabilities, marked)
    right = {
        name: probe.probabilities(features, rows).argmax(1) == labels[rows] for name, rows in parts.items()
    }
    own = row_weights(judged[np.arange(len(train)), given], judgement.agreement, judgement.noise_rate)
    models = {
        PLAIN: text_candidate(PLAIN, config_of(PLAIN), data, tokenizer, None),
        ROBUST: text_candidate(ROBUST, config_of(ROBUST), data, tokenizer, own),
    }
    best, reason = choose(models)
    record = RunRecord(
        loss={"name": LOSS},
        metrics={"last": {"accuracy": float(right["test"].mean())} if "test" in right else {}},
    )
    judge = Candidate(PROBE, stages, record, right.get("validation", np.zeros(0, dtype=bool)))
    if judge.agrees.size and judge.accuracy > best.accuracy:
        ahead = 100 * (judge.accuracy - best.accuracy)
        reason += (
            f"; the probe is ahead by {ahead:.1f} points of noisy validation, and is no model of this form"
        )
    return TextStages({PROBE: judge, **models}, best, reason, judgement, suspects)


def _write_suspects(path: Path, data: Any, probabilities: Any, marked: Any) -> None:
    """The suspect rows, the surest first: row, text, given and suggested label, p of either."""
    given, names = integer_column(data["train"], "label"), data.class_names
    index, texts = integer_column(data["train"], "index"), data["train"]["text"]
    own = probabilities[np.arange(len(given)), given]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "given", "suggested", "p_given", "p_suggested", "text"])
    for row in sorted(np.flatnonzero(marked).tolist(), key=lambda row: float(own[row])):
        best = int(probabilities[row].argmax())
        figures = [f"{own[row]:.4f}", f"{probabilities[row, best]:.4f}"]
        writer.writerow([int(index[row]), names[given[row]], names[best], *figures, texts[row]])
    write_text(path, text.getvalue())


def check_encoder(config: RunConfig, num_classes: int) -> tuple[Any, list[str]]:
    """Load the tokenizer and the encoder once, before anything of an earlier run is removed.

    Returns:
        The tokenizer, and names of the files that a run on text has beside any run's: the suspects and its own.

    Raises:
        ValueError: The model that is named has none.
    """
    name = config.model.model
    try:
        tokenizer = fitting_tokenizer(name, _model(config, num_classes, None))
    except (OSError, ValueError) as error:
        reason = shortened(str(error).strip().partition("\n")[0], 200)
        raise ValueError(f"{name!r} has no tokenizer and encoder of transformers: {reason}") from error
    with tempfile.TemporaryDirectory() as place:
        tokenizer.save_pretrained(place)
        return tokenizer, [SUSPECTS, *sorted(path.name for path in Path(place).iterdir())]


def text_features(config: RunConfig, texts: Texts, tokenizer: Any, num_classes: int, quiet: bool) -> Any:
    """Mean of the encoder's last states over the tokens, (N, d) float16: features that any encoder has."""
    model = to_accelerator(_model(config, num_classes, None).eval())
    collate, parts = DataCollatorWithPadding(tokenizer), []
    with torch.inference_mode():
        for start in tqdm(range(0, len(texts), BATCH), desc="features", unit="batch", disable=quiet):
            rows = [texts[row] for row in range(start, min(start + BATCH, len(texts)))]
            batch = collate(
                [{k: v for k, v in row.items() if k in tokenizer.model_input_names} for row in rows]
            )
            batch = batch.to(model.device)
            states = model.base_model(**batch).last_hidden_state.float()
            mask = batch["attention_mask"][..., None].to(states.dtype)
            parts.append(((states * mask).sum(1) / mask.sum(1)).cpu().numpy().astype(np.float16))
    return np.concatenate(parts)


def _model(config: RunConfig, num_classes: int, names: Sequence[str] | None) -> Any:
    set_seed(config.seed)
    kinds = {} if names is None else {
        "id2label": dict(enumerate(names)), "label2id": {name: label for label, name in enumerate(names)}
    }  # fmt: skip
    model = AutoModelForSequenceClassification.from_pretrained(
        config.model.model, num_labels=num_classes, **kinds
    )
    start_head(model, config.model.head_start)
    return model


def _weights(rows: datasets.Dataset, own: npt.NDArray[np.floating] | None) -> list[float] | None:
    """The rows' own `sample_weight` times the probe's, as far as there are such."""
    stored = np.asarray(rows["sample_weight"][:]) if "sample_weight" in rows.column_names else None
    parts = [part for part in (stored, own) if part is not None]
    return [float(value) for value in np.prod(parts, axis=0)] if parts else None


def _begun(config: RunConfig) -> str | None:
    """The checkpoint from which a cut-off training with the same settings goes on; else the folder is emptied."""
    folder, public = config.output_dir, config.published()
    notes = folder / SETTINGS
    if notes.is_file() and changed_setting(public.values, public.asked, read_object(notes)) is None:
        return find_start(folder, overwrite=False, resume="auto")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(notes, public.to_dict())
    return None


def text_candidate(
    name: str, config: RunConfig, data: Any, tokenizer: Any, own: npt.NDArray[np.floating] | None
) -> Candidate:
    """One trained model in its own folder; `own` (N,) weighs the training rows."""
    folder, record = config.output_dir, finished_candidate(config)
    if record is None:
        checkpoint = _begun(config)
        splits = {split: Texts(data[split], tokenizer) for split in data}
        splits["train"] = Texts(data["train"], tokenizer, _weights(data["train"], own))
        model = freeze(_model(config, data.num_classes, data.class_names), config.model.freeze)
        trainer = JALTrainer(
            model=model, args=config.arguments(), train_dataset=splits["train"], eval_dataset=splits.get("test"),
            validation_dataset=splits.get("validation"), processing_class=tokenizer,
            data_collator=DataCollatorWithPadding(tokenizer),
        )  # fmt: skip
        trainer.known_facts = facts_of_config(config, data, trainer.args.precision_name, trainer.local_paths)
        trainer.config = config
        trainer.train(resume_from_checkpoint=checkpoint)
        assert trainer.record is not None
        record = trainer.record
    if "validation" not in data:
        return Candidate(name, folder, record, np.zeros(0, dtype=bool))
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    given = integer_column(data["validation"], "label")
    predicted = text_logits(model, tokenizer, data["validation"]["text"]).argmax(axis=1)
    return Candidate(name, folder, record, predicted == given)
