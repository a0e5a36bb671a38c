"""A stranger's record is data: it starts nothing, fetches nothing and ends in a sentence."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.attack.helpers import TOKEN, attack, content, first, refused, with_record
from tests.attack.values import ODD

Change = Callable[[dict[str, Any]], Any]


def put(place: str, value: Any) -> Change:
    def change(record: dict[str, Any]) -> None:
        *sections, name = place.split(".")
        for section in sections:
            record = record.setdefault(section, {})
        record[name] = value

    return change


def command(words: str) -> Change:
    """A record of version 0.1, which keeps a command."""

    def change(record: dict[str, Any]) -> None:
        del record["config"]
        record["command"] = f"jal-hf train {words}"

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("config.data.dataset", "/etc"),
        put("config.data.dataset", "evil/data"),
        put("config.data.noise", "labels:/etc/passwd#x"),
        put("config.data.noise", "matrix:/dev/zero"),
        command("digits --dataset=evil/data"),
        command("--dataset evil/data"),
        command("/etc/passwd"),
        command("digits --noise human:/etc/passwd#x"),
    ],
)
def test_audit_asks_before_it_loads_what_a_record_names(
    change: Change, finished: Path, tmp_path: Path
) -> None:
    run = with_record(finished, tmp_path / "strange", change)
    before = content(run)
    assert "record" in refused("audit", run)
    assert content(run) == before


@pytest.mark.parametrize(
    "change",
    [
        put("config.model.model", "hf-hub:evil/model"),
        put("config.model.pretrained", True),
        command("digits --model=hf-hub:evil/model"),
        command("digits --pretrained true"),
    ],
)
def test_folds_ask_before_they_build_what_a_record_names(
    change: Change, finished: Path, tmp_path: Path
) -> None:
    assert "--trust" in refused("audit", with_record(finished, tmp_path / "strange", change), "--folds", 2)


@pytest.mark.parametrize(
    "change",
    [
        command(
            f"digits --push-to-hub true --hub-token {TOKEN} --hub-model-id evil/x --max-train-samples 64"
        ),
        command("digits --push_to_hub=true --hub-strategy=every_save --max_train_samples 64"),
        command("digits --output-dir /tmp/evil --overwrite true --max_train_samples 64"),
        command("digits --deepspeed=/tmp/evil.json --fsdp full_shard --max_train_samples 64"),
        command("digits --report-to all --run-name evil --max_train_samples 64"),
        put("config.training.push_to_hub", True),
        put("config.training.hub_strategy", "every_save"),
        put("config.training.overwrite", True),
        put("config.training.output_dir", "/tmp/evil"),
        put("config.training.report_to", "all"),
        put("config.asked.push_to_hub", True),
        put("config.training.deepspeed", "/tmp/evil.json"),
        put("config.training.resume_from_checkpoint", "/tmp/evil"),
    ],
)
def test_nothing_in_a_record_steers_what_is_run_from_it(
    change: Change, finished: Path, tmp_path: Path
) -> None:
    from jal_hf.cli.old_records import config_of_command
    from jal_hf.ground.record import RunRecord
    from jal_hf.runs.repeat import config_of_run

    run = with_record(finished, tmp_path / "strange", change)
    record = RunRecord.read(run)
    config = config_of_run(run, record) if record.config else config_of_command(record)
    arguments = config.arguments()
    assert not arguments.push_to_hub
    assert not arguments.overwrite
    assert arguments.hub_token is None
    assert arguments.deepspeed is None
    assert not arguments.fsdp
    assert arguments.report_to in ([], ["none"])
    assert arguments.resume_from_checkpoint is None
    assert "evil" not in str(config.output_dir)


WHOLE: list[Change] = [
    lambda record: "[" * 90_000,
    lambda record: "{}",
    lambda record: "[]",
    lambda record: "",
    lambda record: "\0",
    lambda record: {"loss": {}, "model": {}},
    lambda record: {"loss": {"name": "ce"}, "model": {"name": "x"}},
    lambda record: json.dumps(record).replace('"seed": 0', '"seed": NaN'),
    lambda record: json.dumps(record)[:-200],
]


@pytest.mark.parametrize("change", WHOLE)
def test_odd_record_is_a_sentence(change: Change, finished: Path, tmp_path: Path) -> None:
    run = with_record(finished, tmp_path / "strange", change)
    assert codes_of_readers(run) <= {0, 2}
    assert (run / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()


def codes_of_readers(run: Path) -> set[int]:
    """How the commands end that only read a record."""
    return {attack("card", run, "--print").code, attack("plot", run).code}


def places(value: Any, before: str = "") -> list[str]:
    """Every place of a record, deepest last."""
    if not isinstance(value, dict):
        return []
    inner = [f"{before}{name}" for name in value]
    return inner + [place for name in value for place in places(value[name], f"{before}{name}.")]


def mutated(finished: Path, folder: Path, number: int) -> Path:
    """A run with some entries of its record replaced by odd ones."""
    draw = random.Random(number)

    def change(record: dict[str, Any]) -> None:
        for _ in range(draw.choice((1, 1, 2, 5))):
            place = draw.choice(places(record))
            put(place, draw.choice(ODD))(record)

    def safely(record: dict[str, Any]) -> Any:
        with contextlib.suppress(AttributeError, TypeError):  # a place below one that was replaced
            change(record)
        return json.dumps(record)

    return with_record(finished, folder / f"strange-{number}", safely)


@pytest.mark.parametrize("number", first(3, range(15)))
def test_record_with_odd_values_is_a_sentence(number: int, finished: Path, tmp_path: Path) -> None:
    run = mutated(finished, tmp_path, number)
    assert codes_of_readers(run) <= {0, 2}
    assert (run / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("number", range(100, 400))
def test_many_records_with_odd_values_are_a_sentence(number: int, finished: Path, tmp_path: Path) -> None:
    run = mutated(finished, tmp_path, number)
    assert codes_of_readers(run) <= {0, 2}
    shutil.rmtree(run)


@pytest.mark.parametrize(
    "change",
    first(
        2,
        [
            {"architecture": 5},
            {"architecture": "../x"},
            {"pretrained_cfg": 5},
            {"model_args": 5},
            {"label_names": 5},
            {"num_classes": "x"},
            {"num_classes": 10**12},
            {"num_classes": -1},
            {"model_args": {"evil": 1}},
            {"auto_map": {"AutoModel": "evil--x.Model"}, "model_type": "evil"},
            {"library_name": 5},
        ],
    ),
    ids=str,
)
def test_odd_config_of_a_model_is_a_sentence(change: dict[str, Any], run: Path, tmp_path: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, **change}))
    before = content(run)
    outcome = attack(
        "train",
        "digits",
        "--model",
        run,
        "--max_steps",
        1,
        "--max_train_samples",
        64,
        "--max_eval_samples",
        8,
        "--disable_tqdm",
        "true",
        "--save_strategy",
        "no",
        "--output_dir",
        tmp_path / "new",
    )
    assert (tmp_path / "new" / "run.json").exists() == (outcome.code == 0)
    assert content(run) == before


@pytest.mark.parametrize(
    "text", ["[]", "{}", "", "[" * 90_000, "null", "\0"], ids=lambda text: text[:4] or "empty"
)
def test_config_that_is_no_config_is_a_sentence(text: str, run: Path, tmp_path: Path) -> None:
    (run / "config.json").write_text(text)
    words = ["--model", run, "--max_train_samples", 64, "--output_dir", tmp_path / "new"]
    assert "config.json" in refused("train", "digits", *words)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"\xff" * 9, b"{}"], ids=repr)
def test_weights_that_are_none_are_a_sentence(data: bytes, run: Path, tmp_path: Path) -> None:
    (run / "model.safetensors").write_bytes(data)
    words = ["--model", run, "--max_train_samples", 64, "--output_dir", tmp_path / "new"]
    assert "run" in refused("train", "digits", *words)
    assert not (tmp_path / "new").exists()
