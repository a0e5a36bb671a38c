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
from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, set_seed

from jal_hf.analysis.judgement import Judgement, find_suspects, judge_labels
from jal_hf.data.column_values import integer_column
from jal_hf.data.text import equal_texts
from jal_hf.ground.files import read_object, whole_file, write_json, write_text
from jal_hf.ground.record import RunRecord
from jal_hf.models import freeze, start_head
from jal_hf.models.mean_pooled import MeanPooledForSequenceClassification
from jal_hf.runs.audit.run_data import PROBE_FILE
from jal_hf.runs.completion import complete_run
from jal_hf.runs.config import RunConfig
from jal_hf.runs.finetune.candidates import (
    PLAIN,
    PROBE,
    ROBUST,
    Candidate,
    choose,
    finished_candidate,
    put_probe,
)
from jal_hf.runs.finetune.pooling import (
    AUTO,
    FIRST,
    MEAN,
    choose_pooling,
    declared_pooling,
    encoder_features,
)
from jal_hf.runs.finetune.probe import LOSS, Probe, fit_probe, out_of_fold, row_weights
from jal_hf.runs.folder import find_start
from jal_hf.runs.marker import mark_folder
from jal_hf.runs.protocol import changed_setting
from jal_hf.runs.recording import facts_of_config
from jal_hf.runs.texts import Texts, fitting_tokenizer, no_encoder, text_logits
from jal_hf.runs.trainer import JALTrainer

LEARNING_RATE = 5e-5
"""Of a pretrained encoder."""
_READ = {MEAN: "the mean of all tokens", FIRST: "the first token"}
SUSPECTS, SETTINGS = "suspects.csv", "settings.json"


@dataclass(frozen=True)
class TextStages:
    """The models compared, the best and why, the judgement, how many labels are suspect, and what is read of states."""

    found: dict[str, Candidate]
    best: Candidate
    reason: str
    judgement: Judgement
    suspects: int | None
    pooling: str


def text_stages(
    config: RunConfig,
    data: Any,
    tokenizer: Any,
    contents: Mapping[str, npt.NDArray[np.uint64]],
    stages: Path,
    config_of: Callable[[str], RunConfig],
    say: Callable[[str], None],
    pooling: str,
) -> TextStages:
    """Judge the labels by a probe, train the robust model and cross entropy, and compare all three.

    The probe sees the mean of all tokens. Where the classifiers see it too, the probe is one of them; the classifiers
    of transformers read the first token, and then it is compared and not exported.

    Args:
        tokenizer: as `check_encoder` found it.
        pooling: what is asked for, as `choose_pooling`.
        contents: digests of the texts, by split.
        stages: folder of what is kept between the stages, and of `suspects.csv`.
        config_of: the config of a candidate, by its name.
    """
    say(length_line(config, tokenizer))
    quiet = bool(config.training.get("disable_tqdm"))
    order = [name for name in ("train", "validation", "test") if name in data]
    stored = {MEAN: stages / "features.npy", FIRST: stages / "features_first.npy"}
    if not all(path.is_file() for path in stored.values()):
        rows = datasets.concatenate_datasets([data[name] for name in order])
        encoder = _model(config, data.num_classes, None, MEAN)
        made = encoder_features(encoder, Texts(rows, tokenizer), tokenizer, quiet)
        for kind, path in stored.items():
            with whole_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, made[kind])
    features = np.load(stored[MEAN], mmap_mode="r")
    labels = np.concatenate([integer_column(data[name], "label") for name in order])
    ends = np.cumsum([0, *(len(data[name]) for name in order)])
    parts = {name: np.arange(first, last) for name, first, last in zip(order, ends, ends[1:], strict=False)}
    train, given = parts["train"], labels[parts["train"]]
    groups, _ = equal_texts(data["train"])
    judged = out_of_fold(
        features, labels, train, data.num_classes, groups=groups, seed=config.seed, quiet=quiet
    )
    probabilities = judged.astype(np.float64)
    first = out_of_fold(
        np.load(stored[FIRST], mmap_mode="r"), labels, train, data.num_classes,
        groups=groups, seed=config.seed, quiet=True,
    )  # fmt: skip
    pooling, why = choose_pooling(
        pooling,
        declared_pooling(config.model.model),
        judged.argmax(axis=1) == given,
        first.argmax(axis=1) == given,
    )
    say(f"classifiers read {_READ[pooling]}: {why}")
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
    models: dict[str, Candidate] = {}
    if pooling == MEAN:
        models[PROBE] = text_candidate(PROBE, config_of(PROBE), data, tokenizer, None, pooling, probe)
    models[PLAIN] = text_candidate(PLAIN, config_of(PLAIN), data, tokenizer, None, pooling)
    models[ROBUST] = text_candidate(ROBUST, config_of(ROBUST), data, tokenizer, own, pooling)
    best, reason = choose(models)
    if pooling == MEAN:
        return TextStages(models, best, reason, judgement, suspects, pooling)
    record = RunRecord(
        loss={"name": LOSS},
        metrics={"last": {"accuracy": float(right["test"].mean())} if "test" in right else {}},
    )
    judge = Candidate(PROBE, stages, record, right.get("validation", np.zeros(0, dtype=bool)))
    if judge.agrees.size and judge.accuracy > best.accuracy:
        ahead = 100 * (judge.accuracy - best.accuracy)
        reason += (
            f"; the probe on the mean of the tokens is ahead by {ahead:.1f} points of noisy validation, and is no "
            "model of this form: --pooling mean makes it one"
        )
    return TextStages({PROBE: judge, **models}, best, reason, judgement, suspects, pooling)


def length_line(config: RunConfig, tokenizer: Any) -> str:
    """How much of each text is read, and what holds it below what was asked for."""
    read = int(tokenizer.model_max_length)
    cut = read < (config.data.max_length or 0)
    return f"of each text the first {read:,} tokens are read" + (
        ", all that its tokenizer and the encoder take" if cut else ""
    )


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


def check_encoder(config: RunConfig, num_classes: int, pooling: str) -> tuple[Any, list[str]]:
    """Load the tokenizer and the encoder once, before anything of an earlier run is removed.

    Returns:
        The tokenizer, and names of the files that a run on text has beside any run's: the suspects and its own.

    Raises:
        ValueError: The model that is named has none.
    """
    name = config.model.model
    try:
        read = declared_pooling(name) if pooling == AUTO else pooling
        models = [
            _model(config, num_classes, None, kind) for kind in ((MEAN, FIRST) if read is None else (read,))
        ]
        tokenizer = fitting_tokenizer(name, models[0], config.data.max_length)
    except (OSError, ValueError) as error:
        raise no_encoder(name, error) from error
    with tempfile.TemporaryDirectory() as place:
        tokenizer.save_pretrained(place)
        return tokenizer, [SUSPECTS, *sorted(path.name for path in Path(place).iterdir())]


def _model(config: RunConfig, num_classes: int, names: Sequence[str] | None, pooling: str) -> Any:
    set_seed(config.seed)
    kinds: dict[str, Any] = {} if names is None else {
        "id2label": dict(enumerate(names)), "label2id": {name: label for label, name in enumerate(names)}
    }  # fmt: skip
    name = config.model.model
    model: Any
    if pooling == MEAN:
        model = MeanPooledForSequenceClassification.from_encoder(name, num_labels=num_classes, **kinds)
    else:
        model = AutoModelForSequenceClassification.from_pretrained(name, num_labels=num_classes, **kinds)
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
    name: str,
    config: RunConfig,
    data: Any,
    tokenizer: Any,
    own: npt.NDArray[np.floating] | None,
    pooling: str,
    probe: Probe | None = None,
) -> Candidate:
    """One model in its own folder.

    Args:
        own: (N,), weighs the training rows.
        pooling: `mean` or `first`.
        probe: the classifier that is put on the encoder and not trained further; None trains.
    """
    folder, record = config.output_dir, finished_candidate(config)
    if record is None:
        checkpoint = _begun(config)
        splits = {split: Texts(data[split], tokenizer) for split in data}
        splits["train"] = Texts(data["train"], tokenizer, _weights(data["train"], own))
        model = freeze(_model(config, data.num_classes, data.class_names, pooling), config.model.freeze)
        trainer = JALTrainer(
            model=model, args=config.arguments(), train_dataset=splits["train"], eval_dataset=splits.get("test"),
            validation_dataset=splits.get("validation"), processing_class=tokenizer,
            data_collator=DataCollatorWithPadding(tokenizer),
        )  # fmt: skip
        trainer.known_facts = facts_of_config(config, data, trainer.args.precision_name, trainer.local_paths)
        trainer.config = config
        if probe is None:
            trainer.train(resume_from_checkpoint=checkpoint)
            assert trainer.record is not None
            record = trainer.record
        else:
            put_probe(model, probe)
            mark_folder(folder, trainer.local_paths)
            record = complete_run(trainer, evaluate=True)
    if "validation" not in data:
        return Candidate(name, folder, record, np.zeros(0, dtype=bool))
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    given = integer_column(data["validation"], "label")
    predicted = text_logits(model, tokenizer, data["validation"]["text"]).argmax(axis=1)
    return Candidate(name, folder, record, predicted == given)
