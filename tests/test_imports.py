"""The floors of the house: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jal_hf

PACKAGE = Path(jal_hf.__file__).parent
FLOORS = ("losses", "theory", "noise", "data", "models", "training", "hub", "analysis", "cli")
# Beyond the standard library; None means anything.
THIRD_PARTY = {
    "losses": {"torch", "triton"},
    "theory": {"torch", "numpy", "scipy"},
    "noise": {"numpy", "datasets", "pyarrow", "torch", "PIL", "tqdm"},
}
FORBIDDEN_BELOW = {"losses": ("theory", "noise"), "theory": ("noise",), "noise": ("losses", "theory")}


def imported_modules(path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, at the top or inside functions."""
    names: set[str] = set()
    package = ["jal_hf", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names.add(".".join([*base, *([node.module] if node.module else [])]))
            if not node.module:
                names |= {".".join([*base, alias.name]) for alias in node.names}
    return names


def files_of(floor: str) -> list[Path]:
    return sorted((PACKAGE / floor).rglob("*.py"))


@pytest.mark.parametrize("floor", FLOORS)
def test_package_imports_nothing_from_above(floor: str) -> None:
    above = FLOORS[FLOORS.index(floor) + 1 :]
    for path in files_of(floor):
        for name in imported_modules(path):
            parts = name.split(".")
            if parts[0] == "jal_hf" and len(parts) > 1:
                assert parts[1] not in above, f"{path.name} of {floor} imports {name}, which is a floor above"


@pytest.mark.parametrize("floor", sorted(FORBIDDEN_BELOW))
def test_equations_and_noise_do_not_know_each_other(floor: str) -> None:
    for path in files_of(floor):
        for name in imported_modules(path):
            for other in FORBIDDEN_BELOW[floor]:
                assert not name.startswith(f"jal_hf.{other}"), f"{path.name} of {floor} imports {name}"


@pytest.mark.parametrize("floor", sorted(THIRD_PARTY))
def test_ground_floors_import_only_their_libraries(floor: str) -> None:
    for path in files_of(floor):
        for name in imported_modules(path):
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names and top not in ("jal_hf", "__future__"):
                assert top in THIRD_PARTY[floor], f"{path.name} of {floor} imports {top}"


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import jal_hf", ("torch", "transformers", "timm", "datasets", "matplotlib")),
        ("import jal_hf.losses", ("transformers", "timm", "datasets", "accelerate", "matplotlib")),
        ("from jal_hf import create_loss; create_loss('jal-ce')", ("transformers", "timm", "datasets")),
        ("import jal_hf.cli.main as m; m.usage()", ("torch", "transformers")),
    ],
)
def test_import_stays_light(statement: str, unwanted: tuple[str, ...]) -> None:
    code = f"import sys; {statement}; print([name for name in {unwanted!r} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_public_names_all_resolve() -> None:
    assert [name for name in jal_hf.__all__ if getattr(jal_hf, name, None) is None] == []
