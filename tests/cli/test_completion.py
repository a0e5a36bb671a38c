"""The script of `jal-hf completion` completes in a real shell."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from jal_hf.cli.completion import WHERE
from jal_hf.cli.main import available, main
from jal_hf.losses import list_losses
from jal_hf.runs.recipes import list_recipes
from jal_hf.training.methods import list_methods

ASK = """
source {script}
COMP_WORDS=({words}) COMP_CWORD={last} COMPREPLY=()
_shtab_jal_hf jal-hf "${{COMP_WORDS[{last}]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash; made once, for all flags of training are looked up for it."""
    path = tmp_path_factory.mktemp("completion") / "jal-hf.bash"
    with path.open("w", encoding="utf-8") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", file)
        assert main(["completion", "bash"]) == 0
    return path


def completed(script: Path, *words: str) -> set[str]:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash is at hand")
    quoted = " ".join(f"'{word}'" for word in ("jal-hf", *words))
    text = ASK.format(script=script, words=quoted, last=len(words))
    done = subprocess.run([bash, "--norc", "-c", text], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_commands_are_completed(script: Path) -> None:
    assert completed(script, "") >= set(available())
    assert completed(script, "doc") == {"doctor"}


@pytest.mark.parametrize("command", ["train", "tune", "finetune", "check"])
def test_losses_are_completed(script: Path, command: str) -> None:
    assert completed(script, command, "--loss", "") == set(list_losses())


def test_losses_of_a_comparison_are_completed(script: Path) -> None:
    assert completed(script, "compare", "--losses", "jal") == {"jal-ce", "jal-fl"}


def test_methods_are_completed(script: Path) -> None:
    assert completed(script, "train", "digits", "--method", "") == set(list_methods())
    assert completed(script, "methods", "") >= set(list_methods())


@pytest.mark.parametrize("command", ["train", "compare", "tune"])
def test_recipes_are_completed(script: Path, command: str) -> None:
    assert completed(script, command, "c") >= {name for name in list_recipes() if name.startswith("c")}


def test_flags_are_completed(script: Path) -> None:
    assert "--cuda_graph" in completed(script, "train", "--cuda")
    assert "--noises" in completed(script, "compare", "--nois")


@pytest.mark.parametrize("shell", WHERE)
def test_each_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    printed = capsys.readouterr()
    assert "jal-ce" in printed.out
    assert WHERE[shell] in printed.err
