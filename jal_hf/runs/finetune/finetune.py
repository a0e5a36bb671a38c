"""`finetune`: from own data of unknown noise to suspects, an estimate, and the best of three models."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jal_hf.data.arguments import DATASET_OBJECT
from jal_hf.data.fingerprint import row_digests
from jal_hf.ground.places import place_name
from jal_hf.ground.record import RECORD, RunRecord
from jal_hf.hub import check_hub_access, push_run, repository_name
from jal_hf.hub.model_card import write_card
from jal_hf.runs.config import RunConfig
from jal_hf.runs.finetune.candidates import FOLDERS, PLAIN, PROBE, ROBUST, Candidate, candidate, choose
from jal_hf.runs.finetune.comparison import comparison_section, lines_of, loaded_line, refuse_ignored_labels
from jal_hf.runs.finetune.pooling import AUTO, check_pooling
from jal_hf.runs.finetune.probe_stage import probe_stage, weighted_rows
from jal_hf.runs.finetune.settings import finetune_config, fitted_to_data, warmed_up
from jal_hf.runs.finetune.stages import STAGES, refuse_foreign_stages, stages_key, take_up
from jal_hf.runs.finetune.text import LEARNING_RATE, SETTINGS, check_encoder, text_stages
from jal_hf.runs.folder import check_place
from jal_hf.runs.lock import LOCK, held
from jal_hf.runs.marker import MARKER, mark_folder, marked_paths
from jal_hf.runs.parts import build_model, check_network, load_data
from jal_hf.runs.replacement import OWN_FILES, OWN_FOLDERS, event_folders
from jal_hf.runs.run import RunResult
from jal_hf.runs.texts import check_encoder_config, text_data

logger = logging.getLogger(__name__)

TASKS = ("image", "text")


def finetune(
    data: Any,
    *,
    task: str = "image",
    model: str | None = None,
    text_column: str | None = None,
    pooling: str = AUTO,
    weights: str | os.PathLike[str] | None = None,
    output_dir: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = logger.info,
    **changes: Any,
) -> RunResult:
    """Fine-tune a pretrained network on images or text of unknown label noise.

    Labels are taken as they are; `noise="symmetric:0.4"` puts wrong ones on images first, for an experiment whose truth
    is known.

    In stages, each taken up where a former call with the same settings was cut off: load and check; hold noisy
    validation rows back, equal images together; features of the frozen backbone; an out-of-fold linear probe with a
    bounded loss, which says who is suspect and how noisy the labels are; fine-tuning with a robust loss, rows
    weighted by `row_weights`, and beside it cross entropy, and the probe alone. The best by noisy
    validation becomes the folder's model, of text that reads the first token the better of the two fine-tuned ones, as
    the probe reads the mean; a test split is looked at only at the end, and chooses nothing.

    Args:
        data: Folder of class folders, table of paths and labels, `save_to_disk` folder, Hub id, or dataset object.
        task: `image` or `text`: a table, Hub id or dataset with a column of text, and a transformers encoder.
        text_column: Default: found by type and usual names.
        pooling: What a classifier of text reads: `first` token, as those of transformers do; the `mean` of all tokens,
            as sentence encoders are trained to be read; or `auto`, by what the encoder's own files say, else by which
            of the two a probe can tell more from. Who loads a model that reads the mean imports jal_hf first.
        model: timm name, `hf-hub:OWNER/REPO`, or a folder; the published weights of a timm name are loaded unless
            `weights` are given.
        weights: A .safetensors or .pth file.
        output_dir: Default `runs/finetune-NAME`.
        overwrite: Begin anew in a folder that holds another fine-tuning.
        say: Told of each stage, in a line.
        changes: By flag name of `jal-hf train`, `max_length` of texts among them; what is set here is never overruled
            by the size of the data.

    Raises:
        ValueError: Data or settings that cannot be trained on.
        FileExistsError: The folder holds a run with other settings.
        ConnectionError: The push failed; the folder is complete then, and the message says how to try again.

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
    check_pooling(pooling)
    if not is_text and pooling != AUTO:
        raise ValueError("pooling is for text: add --task text, or leave it out.")
    if is_text and model is None:
        raise ValueError(
            "Name a transformers encoder with --model: a folder, or a Hub id such as OWNER/NAME."
        )
    config = finetune_config(
        place or DATASET_OBJECT, model, None if weights is None else str(weights), **changes
    )
    config = config.replace(output_dir=str(folder))
    if is_text:
        check_encoder_config(config.model.model)
    else:
        check_network(config)
    check_place(folder)
    refuse_foreign_stages(folder)
    if (folder / LOCK).exists():
        with held(folder):  # else it is said before the data is loaded
            pass
    repo_id = _repository(config)
    given = None if is_name else data
    if is_text:
        loaded = text_data(config, given, text_column)
        refuse_ignored_labels(loaded)
        config = warmed_up(config.fitted(learning_rate=LEARNING_RATE, augment="none"), loaded.num_classes)
        config = replace(config, deviations=())  # the recipe's values are those for images
        tokenizer, files = check_encoder(config, loaded.num_classes, pooling)
        check_place(folder, files)
    else:
        loaded = load_data(config, given)
        refuse_ignored_labels(loaded)
        config = fitted_to_data(config, loaded)
    say(loaded_line(loaded))
    if config.noise != "none" and loaded.noise_report.kind != "none":  # else a warning tells why
        say(f"put on the training labels, as asked: {loaded.noise_report}")
    for text in loaded.warnings:
        say(f"warning: {text}")
    if not is_text:
        size = config.data.image_size
        say(f"images are shown at {size} pixels" if size else "images are shown at the network's own size")
    network: Any = None if is_text else build_model(config, loaded)
    with held(folder):
        stages = folder / STAGES
        contents = {name: row_digests(loaded[name], loaded.image_column) for name in loaded}
        key = stages_key(config, loaded, contents) + ("" if pooling == AUTO else f"-{pooling}")
        take_up(config, key, overwrite)
        if is_text:
            made = text_stages(
                config,
                loaded,
                tokenizer,
                contents,
                stages,
                lambda name: _config_of(name, config, stages),
                say,
                pooling,
            )
            found, best, reason = made.found, made.best, made.reason
            judgement, suspects = made.judgement, made.suspects
        else:
            probe, judgement, own, suspects = probe_stage(config, loaded, contents, network, stages, key)
            say(judgement.reason)
            found = {
                name: candidate(
                    name,
                    _config_of(name, config, stages),
                    weighted_rows(loaded, own) if name == ROBUST else loaded,
                    probe if name == PROBE else None,
                )
                for name in (PROBE, PLAIN, ROBUST)
            }
            best, reason = choose(found)
        section = comparison_section(loaded, judgement, suspects, found, best, reason)
        typed: list[str] = []
        if is_text:
            section |= {"text_column": text_column, "pooling": made.pooling}
            typed = ["--task", "text", *(["--text_column", text_column] if text_column else [])]
            typed += ["--pooling", pooling] if pooling != AUTO else []
        record = _export(folder, best, config, section, typed)
    for line in lines_of(section):
        say(line)
    address = None
    if repo_id is not None:
        private, revision = (config.training.get(f"hub_{name}") for name in ("private_repo", "revision"))
        address = push_run(folder, repo_id, private, config.secrets.get("hub_token"), revision=revision)
    return RunResult(folder, record, address=address, data=given)


def _repository(config: RunConfig) -> str | None:
    """Where the best model goes, with the right to it checked before the work; None where no push was asked for."""
    if not config.training.get("push_to_hub"):
        return None
    name = config.training.get("hub_model_id") or repository_name(config.output_dir)
    return check_hub_access(
        name, token=config.secrets.get("hub_token"), revision=config.training.get("hub_revision")
    )


def _config_of(name: str, config: RunConfig, stages: Path) -> RunConfig:
    place: dict[str, Any] = {"output_dir": str(stages / FOLDERS[name])}
    if config.training.get("push_to_hub"):
        place["push_to_hub"] = False  # only the chosen model is pushed, once it is the folder's
    if name == PLAIN:
        decay = config.training.get("weight_decay")  # which another loss would lose
        plain = {"loss": "ce", "loss_scale": "none", "method": "plain", "method_args": None}
        return config.replace(**plain, weight_decay=decay, **place)
    return config.replace(freeze="backbone", **place) if name == PROBE else config.replace(**place)


def _export(
    folder: Path, best: Candidate, config: RunConfig, section: Mapping[str, Any], typed: Sequence[str]
) -> RunRecord:
    """Make the best candidate's files the folder's own, its record with the comparison last.

    Where they are that already, what was made of them since stays: an audit, with what a person decided.
    """
    record = best.record.replace(recipe="finetune", command=_command(config, typed), finetune=section)
    left_out = (RECORD, "README.md", MARKER, LOCK, SETTINGS)
    files = [path for path in best.folder.iterdir() if path.is_file() and path.name not in left_out]
    if _is_exported(folder, record, files):
        return RunRecord.read(folder)
    for name in (*OWN_FILES, *OWN_FOLDERS):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        elif name != RECORD:
            (folder / name).unlink(missing_ok=True)
    for path in event_folders(folder):
        shutil.rmtree(path)
    if (best.folder / "plots").is_dir():
        shutil.copytree(best.folder / "plots", folder / "plots")
    for source in files:  # a tokenizer's too
        shutil.copy2(source, folder / source.name)
    mark_folder(folder, marked_paths(best.folder))
    record.write(folder)
    write_card(folder)
    return record


def _is_exported(folder: Path, record: RunRecord, files: Sequence[Path]) -> bool:
    if not all((folder / name).is_file() for name in (RECORD, "README.md", *(path.name for path in files))):
        return False
    there = RunRecord.read(folder).replace(hub=record.hub, command=record.command)
    return there.to_text() == record.to_text()


def _command(config: RunConfig, typed: Sequence[str]) -> str:
    shown = config.published()
    asked = {name: value for name, value in shown.asked.items() if name not in ("output_dir", "dataset")}
    words = replace(shown, asked=asked).to_argv()[1:]
    return shlex.join(["jal-hf", "finetune", shown.data.dataset, *typed, *words])
