"""`jal-hf train`: one run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jal_hf.cli.flags import config_of_words, train_parser
from jal_hf.cli.output import Output, taken_output_flags
from jal_hf.cli.text import facts_text, filled
from jal_hf.ground.record import RunRecord, Section
from jal_hf.ground.sentences import percent, printable
from jal_hf.hub.card_facts import training_time
from jal_hf.runs.config import RunConfig
from jal_hf.runs.recipes import load_recipe
from jal_hf.training.methods import method_info

HELP = "train one robust classifier"


def parser() -> argparse.ArgumentParser:
    """All flags, for the completion of a shell."""
    result: argparse.ArgumentParser = train_parser()
    return result


def main(words: Sequence[str]) -> int:
    """Train, draw the plots, write the card, and print a table of what came out."""
    output, rest = taken_output_flags(words)
    config = config_of_words(rest, or_run=True)

    # Only now: help and bad flags need not wait for what trains.
    from jal_hf.runs.completion import finish_folder
    from jal_hf.runs.going_on import has_reached
    from jal_hf.runs.run import push_what_is_left, run_training

    # A job's script may say RANK where this is the only process.
    is_first = (os.environ.get("WORLD_SIZE") or "1") == "1" or (os.environ.get("RANK") or "0") == "0"
    if "--best" in words and is_first:
        output.remark(filled(recommendation(config)))
    if has_reached(config):
        if is_first:
            finish_folder(config.output_dir)
            _report(output, RunRecord.read(config.output_dir), config.output_dir)
            _pushed(output, push_what_is_left(config))
        return 0
    with output.working():
        # The closing table comes before the push, which may take long.
        result = run_training(config, report=lambda record, folder: _report(output, record, folder))
    _pushed(output, result.address)
    return 0


def _pushed(output: Output, address: str | None) -> None:
    if address is not None:
        output.remark(f"  pushed: {address}")


def recommendation(config: RunConfig) -> str:
    """What `--best` takes, what it costs beside the plain run, and how it was found."""
    names = config.method.split("+")
    costs = ", ".join(f"{name} {method_info(name).cost}" for name in names)
    why = " ".join(str(load_recipe(config.recipe).best["why"]).split())
    return (
        f"--best: loss {config.loss}, method {config.method}. Times the time of the plain run: {costs}. {why}"
    )


def _report(output: Output, record: RunRecord, folder: Path) -> None:
    output.result({"folder": str(folder), **record.to_dict()}, summary(record, folder), brief=str(folder))


def summary(record: RunRecord, folder: Path) -> str:
    """The closing table: what was trained on what, and how well."""
    last, best, train, training = record.last, record.best, record.train, record.training
    parameters = ", ".join(
        f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in _short(record.loss["params"])
    )
    speed = [f"{training['images_per_second']:.0f} images/s"] if training["images_per_second"] else []
    rows = [
        ("loss", f"{record.loss['name']}({parameters})"),
        ("method", _method(record.method)),
        ("noise", _noise(record.noise)),
        ("weights in the folder", record.headline_epoch if record.saved else "-"),
        ("their test accuracy", percent(record.saved.get("accuracy"))),
        ("their noisy validation accuracy", percent(record.saved.get("validation_accuracy"))),
        ("test accuracy, last epoch", percent(last.get("accuracy"))),
        (
            "test accuracy, best epoch",
            f"{percent(best.get('accuracy'))}  (epoch {best.get('epoch', 0):g})" if best else "-",
        ),
        ("test top-5 accuracy", percent(last.get("top5_accuracy"))),
        ("noisy validation accuracy", percent(last.get("validation_accuracy"))),
        ("training labels: clean recovered", percent(train.get("clean_accuracy"))),
        ("training labels: wrong memorised", percent(train.get("memorized_rate"))),
        ("time", ", ".join([str(training_time(training)), *speed, str(training["precision"])])),
        ("waiting for data", percent(training["data_wait_share"])),
    ]
    rows = [(name, text) for name, text in rows if text != "-"]
    warnings = "".join("\n" + filled(f"warning: {text}", "  ") for text in record.warnings)
    title = printable(f"{record.recipe}: {record.model['name']} on {record.dataset['name']}")
    return f"\n{title}\n{facts_text(rows)}{warnings}\n  everything is in {folder}"


def _short(params: Section) -> Iterable[tuple[str, Any]]:
    plain = ("reduction", "ignore_index", "weight")
    return [
        (name, value) for name, value in params.items() if name not in plain and not isinstance(value, dict)
    ]


def _method(method: Section) -> str:
    """`elr(lambda=0.3, ...)`; of several the names."""
    params = {
        name: value for name, value in dict(method.get("params") or {}).items() if not isinstance(value, dict)
    }
    shown = ", ".join(f"{name}={value}" for name, value in params.items())
    return str(method.get("name", "-")) + (f"({shown})" if shown else "")


def _noise(noise: Section) -> str:
    if not noise:
        return "-"
    if noise.get("kind") == "unknown":
        return "unknown: the labels are as the data gives them, and nothing was added"
    asked, realised = noise.get("asked_rate"), noise.get("realised_rate")
    if noise.get("kind") == "given":
        return f"given with the data, {percent(realised)} of the labels differ from clean_label"
    return f"{noise['spec']}, asked {percent(asked)}, realised {percent(realised)}"
