"""`finetune`: from own data of unknown noise to suspects, an estimate, and the best of three models."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
from torch import nn

from jal_hf.analysis.judgement import Judgement, find_suspects, judge_labels
from jal_hf.data import NoisyDatasetDict, find_duplicates
from jal_hf.data.arguments import DATASET_OBJECT
from jal_hf.data.column_values import integer_column
from jal_hf.data.fingerprint import row_digests
from jal_hf.ground.files import read_object, whole_file, write_json
from jal_hf.ground.places import place_name
from jal_hf.ground.record import RECORD, RunRecord
from jal_hf.hub.model_card import write_card
from jal_hf.runs.audit.run_data import PROBE_FILE
from jal_hf.runs.config import RunConfig
from jal_hf.runs.finetune.candidates import FOLDERS, PLAIN, PROBE, ROBUST, Candidate, candidate, choose
from jal_hf.runs.finetune.comparison import comparison_section, lines_of, loaded_line
from jal_hf.runs.finetune.features import cached_features
from jal_hf.runs.finetune.probe import Probe, fit_probe, out_of_fold, row_weights
from jal_hf.runs.finetune.settings import check_network, finetune_config, fitted_to_data, warmed_up
from jal_hf.runs.finetune.text import LEARNING_RATE, check_encoder, text_stages
from jal_hf.runs.folder import check_place
from jal_hf.runs.lock import LOCK, held
from jal_hf.runs.marker import MARKER, mark_folder, marked_paths
from jal_hf.runs.parts import build_model, image_dataset, load_data
from jal_hf.runs.replacement import OWN_FILES, OWN_FOLDERS
from jal_hf.runs.run import RunResult
from jal_hf.runs.texts import text_data

logger = logging.getLogger(__name__)

Contents = Mapping[str, npt.NDArray[np.uint64]]
"""Digests of each row's image or text, by split."""

STAGES, TASKS = "finetune", ("image", "text")
KEY = "key.json"


def finetune(
    data: Any,
    *,
    task: str = "image",
    model: str | None = None,
    text_column: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    output_dir: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = logger.info,
    **changes: Any,
) -> RunResult:
    """Fine-tune a pretrained network on images or text of unknown label noise; nothing is added to the labels.

    In stages, each taken up where a former call with the same settings was cut off: load and check; hold noisy
    validation rows back, equal images together; features of the frozen backbone; an out-of-fold linear probe with a
    bounded loss, which says who is suspect and how noisy the labels are; fine-tuning with a robust loss, rows
    weighted by `row_weights`, and beside it cross entropy, and the probe alone. The best by noisy
    validation becomes the folder's model; a test split is looked at only at the end, and chooses nothing.

    Args:
        data: Folder of class folders, table of paths and labels, `save_to_disk` folder, Hub id, or dataset object.
        task: `image` or `text`: a table, Hub id or dataset with a column of text, and a transformers encoder.
        text_column: Default: found by type and usual names.
        model: timm name, `hf-hub:OWNER/REPO`, or a folder; the published weights of a timm name are loaded unless
            `weights` are given.
        weights: A .safetensors or .pth file.
        output_dir: Default `runs/finetune-NAME`.
        overwrite: Begin anew in a folder that holds another fine-tuning.
        say: Told of each stage, in a line.
        changes: By flag name of `jal-hf train`; what is set here is never overruled by the size of the data.

    Raises:
        ValueError: Data or settings that cannot be trained on.
        FileExistsError: The folder holds a run with other settings.

    Example:
        result = jal_hf.finetune("my_folder", model="resnet50.a1_in1k", output_dir="runs/mine")
        result.audit().export("my_folder_cleaned", "drop")
    """
    is_name = isinstance(data, str | os.PathLike)
    place = str(data) if is_name else None
    named = place_name(place).replace("/", "-") if place else "data"
    folder = Path(output_dir or f"runs/finetune-{named}")
    if task not in TASKS:
        raise ValueError(f"task is {task!r}; choose one of {', '.join(TASKS)}.")
    is_text = task == "text"
    if is_text and model is None:
        raise ValueError(
            "Name a transformers encoder with --model: a folder, or a Hub id such as OWNER/NAME."
        )
    config = finetune_config(
        place or DATASET_OBJECT, model, None if weights is None else str(weights), **changes
    )
    config = config.replace(output_dir=str(folder))
    check_place(folder)
    given = None if is_name else data
    if is_text:
        loaded = text_data(config, given, text_column)
        config = warmed_up(config.fitted(learning_rate=LEARNING_RATE, augment="none"), loaded.num_classes)
        check_encoder(config, loaded.num_classes)
    else:
        check_network(config)
        loaded = load_data(config, given)
        config = fitted_to_data(config, loaded)
    say(loaded_line(loaded))
    if not is_text:
        size = config.data.image_size
        say(f"images are shown at {size} pixels" if size else "images are shown at the network's own size")
    network: Any = None if is_text else build_model(config, loaded)
    with held(folder):
        stages = folder / STAGES
        contents = {name: row_digests(loaded[name], loaded.image_column) for name in loaded}
        key = _key(config, loaded, contents)
        _take_up(folder, key, overwrite)
        mark_folder(folder)
        if is_text:
            made = text_stages(
                config, loaded, contents, stages, lambda name: _config_of(name, config, stages), say
            )
            found, best, reason = made.found, made.best, made.reason
            judgement, suspects = made.judgement, made.suspects
        else:
            probe, judgement, own, suspects = _probe_stage(config, loaded, contents, network, stages, key)
            say(judgement.reason)
            found = {
                name: candidate(
                    name,
                    _config_of(name, config, stages),
                    _weighted(loaded, own) if name == ROBUST else loaded,
                    probe if name == PROBE else None,
                )
                for name in (PROBE, PLAIN, ROBUST)
            }
            best, reason = choose(found)
        section = comparison_section(loaded, judgement, suspects, found, best, reason)
        typed: list[str] = []
        if is_text:
            section["text_column"] = text_column
            typed = ["--task", "text", *(["--text_column", text_column] if text_column else [])]
        record = _export(folder, best, config, section, typed)
    for line in lines_of(section):
        say(line)
    return RunResult(folder, record, data=given)


def _key(config: RunConfig, data: NoisyDatasetDict, contents: Contents) -> str:
    """Digest of all that decides the stages before training; files of weights by size and time of change."""
    weights = config.model.weights
    status = os.stat(weights) if weights and Path(weights).is_file() else None
    content = [
        data.fingerprint,
        {name: hashlib.sha256(digests.tobytes()).hexdigest() for name, digests in contents.items()},
        data.noise_report.labels_sha256,
        len(data["train"]),
        vars(config.model),
        config.data.image_size,
        [config.data.image_mean, config.data.image_std, config.seed, config.data.val_fraction],
        None if status is None else [status.st_size, status.st_mtime_ns],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _take_up(folder: Path, key: str, overwrite: bool) -> None:
    notes = folder / STAGES / KEY
    known = read_object(notes).get("key") if notes.is_file() else None
    is_other = (folder / STAGES).exists() or (folder / RECORD).exists()
    if known != key and is_other and not overwrite:
        raise FileExistsError(
            f"{folder} holds a run on other data, or with other settings. Choose another --output_dir, or pass "
            "--overwrite to replace it."
        )
    if overwrite or known != key:
        shutil.rmtree(folder / STAGES, ignore_errors=True)
    write_json(notes, {"key": key})


def _probe_stage(
    config: RunConfig,
    data: NoisyDatasetDict,
    contents: Contents,
    network: nn.Module,
    stages: Path,
    key: str,
) -> tuple[Probe, Judgement, np.ndarray[Any, Any], int | None]:
    """Probe of all training rows, judgement, weight of each row, and how many labels are suspect."""
    names = [name for name in ("train", "validation") if name in data]
    splits = [data[name] for name in names]
    both = datasets.concatenate_datasets(splits)
    images = image_dataset(config, _with(data, "train", both), "train", network)
    quiet = bool(config.training.get("disable_tqdm"))
    features = cached_features(network, images, stages, key, quiet=quiet)
    labels = integer_column(both, data.label_column)
    rows, rest = np.arange(len(splits[0])), np.arange(len(splits[0]), len(both))
    groups = find_duplicates({"train": both}, data.image_column, data.label_column).groups["train"]
    probe = fit_probe(features, labels, rows, data.num_classes, config.seed)
    stored = stages / Path(PROBE_FILE).name
    if stored.is_file():
        with np.load(stored) as known:
            probabilities = known["probabilities"]
    else:
        judged = out_of_fold(
            features, labels, rows, data.num_classes, groups=groups, seed=config.seed, quiet=quiet
        )
        probabilities = np.concatenate([judged, probe.probabilities(features, rest)])
        with whole_file(stored) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                index=integer_column(both, "index"),
                labels=labels,
                contents=np.concatenate([contents[name] for name in names]),
                probabilities=probabilities,
            )
    judgement = judge_labels(probabilities[rows].astype(np.float64), labels[rows], is_out_of_sample=True)
    suspects = None
    if judgement.noise_rate is not None:
        suspects = int(find_suspects(probabilities[rows].astype(np.float64), labels[rows], judgement).sum())
    own = row_weights(probabilities[rows, labels[rows]], judgement.agreement, judgement.noise_rate)
    return probe, judgement, own, suspects


def _with(data: NoisyDatasetDict, split: str, rows: datasets.Dataset) -> NoisyDatasetDict:
    return NoisyDatasetDict({**data, split: rows}, data.facts)


def _weighted(data: NoisyDatasetDict, own: np.ndarray[Any, Any]) -> NoisyDatasetDict:
    """Training rows with their weights: softer than leaving suspects out, which costs rare classes."""
    train = data["train"]
    if "sample_weight" in train.column_names:
        own = own * np.asarray(train["sample_weight"][:], dtype=np.float32)
        train = train.remove_columns("sample_weight")
    return _with(data, "train", train.add_column("sample_weight", np.asarray(own, dtype=np.float32)))


def _config_of(name: str, config: RunConfig, stages: Path) -> RunConfig:
    place = {"output_dir": str(stages / FOLDERS[name])}
    if name == PLAIN:
        decay = config.training.get("weight_decay")  # which another loss would lose
        plain = {"loss": "ce", "loss_scale": "none", "method": "plain", "method_args": None}
        return config.replace(**plain, weight_decay=decay, **place)
    return config.replace(freeze="backbone", **place) if name == PROBE else config.replace(**place)


def _export(
    folder: Path, best: Candidate, config: RunConfig, section: Mapping[str, Any], typed: Sequence[str]
) -> RunRecord:
    """Make the best candidate's files the folder's own, its record with the comparison last."""
    for name in (*OWN_FILES, *OWN_FOLDERS):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        elif name != RECORD:
            (folder / name).unlink(missing_ok=True)
    if (best.folder / "plots").is_dir():
        shutil.copytree(best.folder / "plots", folder / "plots")
    for source in best.folder.iterdir():  # a tokenizer's files too
        if source.is_file() and source.name not in (RECORD, "README.md", MARKER, LOCK):
            shutil.copy2(source, folder / source.name)
    mark_folder(folder, marked_paths(best.folder))
    record = best.record.replace(recipe="finetune", command=_command(config, typed), finetune=section)
    record.write(folder)
    write_card(folder)
    return record


def _command(config: RunConfig, typed: Sequence[str]) -> str:
    shown = config.published()
    asked = {name: value for name, value in shown.asked.items() if name not in ("output_dir", "dataset")}
    words = replace(shown, asked=asked).to_argv()[1:]
    return shlex.join(["jal-hf", "finetune", shown.data.dataset, *typed, *words])
