"""A run's folder from anywhere: shown, used and pushed as data; its names are text, its links lead nowhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from tests.attack.helpers import TOKEN, attack, content, refused
from tests.attack.values import ODD

NAMES = [
    "a\nb",
    "x\x1b[31mred\x07",
    "</script><script>alert(1)</script>",
    "](http://evil) **b** `c`",
    "$\\frac{x",
    "---\nlicense: mit\n",
    "| a | b |",
    "\u202eevil",
    "\ud800",
    "\\input{/etc/passwd}",
]
"""A class each: two lines, a terminal's commands, HTML, Markdown, mathematics, YAML, a table, LaTeX."""


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    whole = json.loads(path.read_text(encoding="utf-8"))
    change(whole)
    path.write_text(json.dumps(whole), encoding="utf-8")


@pytest.fixture
def named(run: Path) -> Path:
    """A run whose classes, weights, warnings and data are named by somebody who means harm."""

    def record(whole: dict[str, Any]) -> None:
        whole["dataset"] |= {"class_names": NAMES, "name": NAMES[1] + NAMES[0]}
        whole["model"]["name"] = NAMES[2] + NAMES[1]
        whole["recipe"] = NAMES[5]
        whole["warnings"] = [f"Class {name} is lost." for name in NAMES]

    rewrite(run / "run.json", record)
    rewrite(run / "config.json", lambda config: config.update(label_names=NAMES))
    return run


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.new("L", (8, 8)).save(tmp_path / "x\x1b[31m.png")
    return tmp_path / "x\x1b[31m.png"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """What `push` would send, by name."""
    files: dict[str, Path] = {}

    def upload(repo_id: str, found: dict[str, Path], **_: Any) -> str:
        files.update(found)
        return f"https://hub/{repo_id}"

    monkeypatch.setattr("jal_hf.cli.push.check_hub_access", lambda name, **_: name)
    monkeypatch.setattr("jal_hf.hub.push.upload_files", upload)
    return files


def is_quiet(printed: str) -> bool:
    """Whether a terminal would only write: no command of it, no change of direction."""
    return not [letter for letter in "\x1b\x07\u202e\ud800" if letter in printed]


def test_names_in_a_card_neither_break_its_front_matter_nor_become_markup(named: Path) -> None:
    attack("card", named, allowed=(0,))
    card = (named / "README.md").read_text(encoding="utf-8")
    _, head, body = card.split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "apache-2.0"
    assert is_quiet(card)
    assert not [text for text in ("<script", "](http://evil", "\nlicense: mit", "**b**") if text in body]
    assert all(line.count("|") == 0 or line.startswith("|") for line in body.splitlines() if " b |" in line)


def test_names_in_a_terminal_are_text(named: Path, image: Path) -> None:
    for words in (["card", named, "--print"], ["predict", named, image], ["predict", named, image.parent]):
        printed = attack(*words, allowed=(0,)).printed
        assert is_quiet(printed), words[0]
    rows = attack("predict", named, image, allowed=(0,)).printed.splitlines()
    assert len(rows[-1].split("\t")) == 3


def test_names_in_the_closing_table_of_a_training_are_text(named: Path) -> None:
    from jal_hf.cli.train import summary
    from jal_hf.ground.record import RunRecord

    assert is_quiet(summary(RunRecord.read(named), named))


def test_names_in_a_table_of_answers_keep_its_columns(named: Path, image: Path, tmp_path: Path) -> None:
    import csv

    attack("predict", named, image, "--out", tmp_path / "out.csv", allowed=(0,))
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert [len(row) for row in rows] == [3, 3]


def test_names_on_the_page_of_an_audit_are_text(named: Path) -> None:
    printed = attack("audit", named, "--trust", allowed=(0,)).printed
    assert is_quiet(printed)
    page = (named / "audit" / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page


@pytest.mark.parametrize("link", ["plots", "model.safetensors", "README.md", "log.jsonl"])
def test_push_sends_nothing_from_behind_a_link(
    link: str, run: Path, tmp_path: Path, sent: dict[str, Path]
) -> None:
    secret = tmp_path / "elsewhere"
    place = run / link
    if place.is_dir():
        place.rename(secret)
        (secret / "private.png").write_bytes(b"private")
    else:
        place.rename(secret)
    place.symlink_to(secret)
    outcome = attack("push", run, "me/x")
    assert outcome.code == (2 if link == "model.safetensors" else 0)
    assert all(path.resolve().is_relative_to(run.resolve()) for path in sent.values())
    assert not [name for name in sent if "private" in name]


def test_push_sends_no_pickle_and_nothing_that_knows_this_machine(run: Path, sent: dict[str, Path]) -> None:
    (run / "logs").mkdir()
    (run / "logs" / "cell.log").write_text("/home/me")
    (run / "evil.pkl").write_bytes(b"x")
    attack("push", run, "me/x", allowed=(0,))
    assert {"config.json", "model.safetensors", "README.md", "run.json"} <= set(sent)
    assert all(name.endswith((".json", ".safetensors", ".md", ".jsonl", ".png", ".svg")) for name in sent)
    assert not [name for name in sent if name.startswith((".jal_hf", "checkpoint", "logs"))]
    assert not [name for name, path in sent.items() if str(run.parent).encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("section", "field"),
    [("config", "run_name"), ("dataset", "name"), ("model", "name"), ("hub", "base"), ("protocol", "paper")],
)
def test_token_in_any_field_of_a_record_is_neither_shown_nor_sent(
    section: str, field: str, run: Path, sent: dict[str, Path]
) -> None:
    rewrite(run / "run.json", lambda record: record.setdefault(section, {}).update({field: f"x {TOKEN}"}))
    attack("card", run, "--print", allowed=(0,))
    attack("push", run, "me/x", allowed=(0,))
    assert [name for name, path in sent.items() if TOKEN.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("repo_id", ["../x", "me/../x", "a/b/c", "me/x\x1b[31m", "", "x" * 300, "me/x\n"])
def test_push_to_a_name_that_is_none_is_refused(repo_id: str, run: Path, sent: dict[str, Path]) -> None:
    before = content(run)
    assert is_quiet(refused("push", run, repo_id))
    assert content(run) == before
    assert sent == {}


@pytest.mark.parametrize("place", ["plots", "audit"])
def test_nothing_is_written_behind_a_link(place: str, run: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "curves.png").write_bytes(b"theirs")
    if (run / place).is_dir():
        (run / place).rename(run / "former")
    (run / place).symlink_to(target)
    assert "link" in refused("plot" if place == "plots" else "audit", run)
    assert content(target) == {"curves.png": b"theirs"}


@pytest.mark.parametrize("name", ["README.md", "run.json"])
def test_card_replaces_a_link_and_not_what_is_behind_it(name: str, run: Path, tmp_path: Path) -> None:
    (run / name).rename(tmp_path / "target")
    (run / name).symlink_to(tmp_path / "target")
    before = (tmp_path / "target").read_bytes()
    attack("card", run)
    assert (tmp_path / "target").read_bytes() == before


CONFIGS: list[dict[str, Any]] = [
    {"auto_map": {"AutoModelForImageClassification": "evil.Model"}, "model_type": "evil"},
    {"auto_map": {"AutoModelForImageClassification": "evil--x.Model"}},
    {"architecture": 5},
    {"architecture": "../x"},
    {"pretrained_cfg": 5},
    {"pretrained_cfg": {"input_size": [1, 10**9, 10**9]}},
    {"model_args": 5},
    {"model_args": {"evil": 1}},
    {"label_names": 5},
    {"label_names": ["a"]},
    {"num_classes": 10**12},
    {"num_classes": -1},
    {"num_classes": 3},
    {"num_classes": "x"},
    {"library_name": 5},
    {"model_type": "vit", "hidden_size": "x"},
]


@pytest.mark.parametrize("command", ["predict", "export"])
@pytest.mark.parametrize("change", CONFIGS, ids=lambda change: str(change)[:40])
def test_odd_config_of_a_run_is_a_sentence(
    change: dict[str, Any], command: str, run: Path, image: Path, tmp_path: Path
) -> None:
    (run / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Model: pass\n")
    rewrite(run / "config.json", lambda config: config.update(change))
    attack(command, run, *([image] if command == "predict" else ["--format", "torchscript"]))
    assert not (tmp_path / "ran").exists()


def test_adapter_that_names_another_model_is_not_followed(run: Path, image: Path) -> None:
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "evil/base", "auto_mapping": None}
    (run / "adapter_config.json").write_text(json.dumps(adapter))
    assert "adapter" in refused("predict", run, image)
    assert "adapter" in refused("export", run, "--format", "torchscript")


@pytest.mark.parametrize("weights", [b"", b"\0" * 64, b"\xff" * 9, None], ids=repr)
@pytest.mark.parametrize("command", ["predict", "export"])
def test_weights_that_are_none_are_refused(
    command: str, weights: bytes | None, run: Path, image: Path
) -> None:
    import torch

    if weights is None:
        (run / "model.safetensors").unlink()
        torch.save({"a": torch.zeros(1)}, run / "pytorch_model.bin")
    else:
        (run / "model.safetensors").write_bytes(weights)
    words = [image] if command == "predict" else ["--format", "torchscript"]
    reasons = ["Only safetensors are loaded"] if weights is None else ["cannot be loaded", "cannot be read"]
    sentence = refused(command, run, *words)
    assert any(reason in sentence for reason in reasons)


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:12])
def test_odd_number_of_classes_is_a_sentence_for_export(value: Any, run: Path) -> None:
    rewrite(run / "run.json", lambda record: record["model"].update(num_labels=value))
    before = (run / "model.safetensors").read_bytes()
    attack("export", run, "--format", "torchscript")
    assert (run / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("section", "field"),
    [("hub", "license"), ("hub", "repo_id"), ("noise", "spec"), ("dataset", "name"), ("loss", "name"),
     ("metrics", "last"), ("training", "seconds"), ("model", "name")],
)  # fmt: skip
@pytest.mark.parametrize(
    "value", ["../../etc/passwd", 10**400, ["x"], "a\nb: c", None], ids=lambda v: repr(v)[:12]
)
def test_push_of_an_odd_record_is_a_sentence(
    section: str, field: str, value: Any, run: Path, sent: dict[str, Path]
) -> None:
    rewrite(run / "run.json", lambda record: record.setdefault(section, {}).update({field: value}))
    code = attack("push", run, "me/x").code
    assert code == 2 or yaml.safe_load((run / "README.md").read_text().split("---\n")[1])["library_name"]
    assert all(path.resolve().is_relative_to(run.resolve()) for path in sent.values())


@pytest.mark.parametrize("name", ["missing.png", "folder", "text.png", "pipe.png", "bomb.png", "eps.png"])
def test_picture_that_is_none_is_refused_by_name(name: str, run: Path, tmp_path: Path) -> None:
    import os
    import struct
    import zlib

    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    elif name == "text.png":
        path.write_text("no picture")
    elif name == "pipe.png":
        os.mkfifo(path)
    elif name == "eps.png":
        path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/tmp/pwned) (w) file\n")
    elif name == "bomb.png":
        head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
        chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    assert name in refused("predict", run, path)
