"""A token stands in no file and no message, however it was given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attack.helpers import TOKEN, attack, first, holding, refused, train

SPELLINGS = [
    ["--hub_token", TOKEN],
    ["--hub-token", TOKEN],
    [f"--hub_token={TOKEN}"],
    [f"--hub-token={TOKEN}"],
]


@pytest.mark.parametrize("words", first(1, SPELLINGS[1:3]), ids=lambda words: words[0][:12])
def test_token_of_a_training_is_in_no_file(words: list[str], tmp_path: Path) -> None:
    printed = train(tmp_path / "run", *words, steps=1).printed
    assert TOKEN not in printed
    assert holding(tmp_path, TOKEN) == []
    assert (tmp_path / "run" / "checkpoint-1" / "training_args.bin").is_file()


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda words: words[0][:12])
@pytest.mark.parametrize(
    "wrong",
    [
        ["--learning_rate", "x"],
        ["--loss", "nope"],
        ["--lr_scheduler_type", "nope"],
        ["--no_such_flag"],
        ["--dataset", "/nowhere"],
        ["--report_to", "tensorboardx"],
        ["--eval_strategy", "epoch", "--save_strategy", "steps", "--load_best_model_at_end", "true"],
    ],
    ids=lambda words: words[0],
)
def test_token_is_in_no_message(wrong: list[str], spelling: list[str], tmp_path: Path) -> None:
    refused("train", "digits", *wrong, *spelling, "--output_dir", tmp_path / "run")
    assert holding(tmp_path, TOKEN) == []


@pytest.mark.parametrize(
    "words",
    [
        [TOKEN],
        ["--learning_rate", TOKEN],
        [f"--num_train_epochs={TOKEN}"],
        ["--hub_token"],
        ["--hub_tokn", TOKEN],
        [f"--hub-tokn={TOKEN}"],
        ["--loss", TOKEN],
        ["--model", TOKEN],
        ["--noise", TOKEN],
        ["--dataset", TOKEN],
    ],
    ids=lambda words: words[0][:16],
)
def test_token_in_the_wrong_place_is_not_repeated(words: list[str], tmp_path: Path) -> None:
    assert TOKEN not in refused("train", *words, "--output_dir", tmp_path / "run")
    assert not holding(tmp_path, TOKEN)


def test_token_from_python_is_in_no_text_of_config_and_arguments() -> None:
    from jal_hf import RunConfig

    config = RunConfig.from_recipe("digits", hub_token=TOKEN)
    arguments = config.arguments()
    assert arguments.hub_token == TOKEN
    texts = [repr(config), str(arguments), repr(arguments), json.dumps(config.to_dict()), config.command()]
    texts += [" ".join(config.to_argv()), arguments.to_json_string(), repr(arguments.copied())]
    assert not [text for text in texts if TOKEN in text]
    with pytest.raises(ValueError, match="hub_token") as refusal:
        RunConfig.from_recipe("digits", hub_token=[TOKEN])
    assert TOKEN not in str(refusal.value)


@pytest.mark.slow
def test_token_of_a_grid_is_in_no_file_no_message_and_no_process_list(tmp_path: Path) -> None:
    grid = ["compare", "digits", "--losses", "ce", "--noises", "none", "--seeds", "0", "--max_steps", "1"]
    grid += ["--max_train_samples", "64", "--max_eval_samples", "16", "--out", str(tmp_path / "grid")]
    code = (
        "import os, subprocess, sys\n"
        "first = subprocess.Popen.__init__\n"
        "def watched(self, command, *rest, **options):\n"
        "    print('STARTED', command, [v for v in (options.get('env') or {}).values() if v.startswith('hf_')])\n"
        "    first(self, command, *rest, **options)\n"
        "subprocess.Popen.__init__ = watched\n"
        "from jal_hf.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *grid, f"--hub-token={TOKEN}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "STARTED" in done.stdout
    assert TOKEN not in done.stdout + done.stderr
    assert holding(tmp_path, TOKEN) == []
    again = attack(*grid, "--hub-token", TOKEN + "2", "--learning_rate", "0.3", allowed=(2,))
    assert "learning_rate" in again.sentence
