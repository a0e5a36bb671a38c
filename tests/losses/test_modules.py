"""The losses' modules among themselves, and what the rest of the package must not know of them by name."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import jal_hf
from jal_hf.losses import list_losses
from jal_hf.noise import list_noises, noise_info

PACKAGE = Path(jal_hf.__file__).parent
ASK_THE_LOSS = ["losses/automatic.py", "losses/conditions.py", "losses/tolerance.py", "losses/factory.py"]
ASK_THE_LOSS += ["theory/condition.py", "theory/ratio.py", "analysis/advice.py", "cli/check.py"]
ASK_THE_NOISE = ["hub/noisy_dataset.py", "analysis/advice.py"]


def _imports(path: Path) -> set[str]:
    """Modules of `jal_hf.losses` that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jal_hf.losses"):
            below = (node.module or "").removeprefix("jal_hf.losses").lstrip(".")
            found |= {below} if below else {alias.name for alias in node.names}
    return found


def _words(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_losses_import_each_other_in_no_circle() -> None:
    files = [path for path in (PACKAGE / "losses").glob("*.py") if path.stem != "__init__"]
    graph = {path.stem: _imports(path) for path in files}
    assert len(graph) > 25
    assert "base" in graph["joint"]
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError


def test_theory_knows_no_loss_by_name() -> None:
    for name in ASK_THE_LOSS:
        words = _words(PACKAGE / name) & set(list_losses())
        # Defaults of arguments: minimum_a is AMSE's, with its exponents' own names.
        assert words <= ({"amse", "aul"} if name == "theory/condition.py" else set()), name


def test_cards_and_advice_know_no_noise_by_name() -> None:
    families = {noise_info(kind).cls.family for kind in list_noises()}
    for name in ASK_THE_NOISE:
        words = _words(PACKAGE / name) & set(list_noises()) - families
        # `kind_of_matrix` gives kinds, it does not read them.
        assert words <= ({"none"} if name == "analysis/advice.py" else set()), name
