"""The floors of the house: who may import whom."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jal_hf

PACKAGE = Path(jal_hf.__file__).parent
# The top first; a floor may import from those below its own, and from itself.
FLOORS = (
    ("cli",),
    ("runs",),
    ("analysis",),
    ("training",),
    ("hub",),
    ("data", "models", "theory"),
    ("noise", "losses"),
    ("ground",),
)
ROOMS = tuple(room for floor in FLOORS for room in floor)
# Beyond what the floors allow: the Hub's cards speak of losses and noise alone.
ONLY = {"hub": {"losses", "noise", "ground"}, "models": {"ground"}, "theory": {"losses", "ground"}}
# Beyond the standard library; None means anything.
THIRD_PARTY = {
    "ground": {"PIL"},
    "losses": {"torch", "triton"},
    "theory": {"torch", "numpy", "scipy"},
    "noise": {"numpy", "datasets", "huggingface_hub", "pyarrow", "torch", "PIL", "tqdm"},
}


def imported_modules(path: Path, with_members: bool = False) -> set[str]:
    """Absolute names of all modules that a file imports, at the top or inside functions."""
    names: set[str] = set()
    package = ["jal_hf", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names.add(".".join([*base, *([node.module] if node.module else [])]))
            if not node.module or with_members:
                place = [*base, *([node.module] if node.module else [])]
                names |= {".".join([*place, alias.name]) for alias in node.names}
            if with_members and all(is_module(".".join([*place, alias.name])) for alias in node.names):
                # A module taken out of its package needs that module, not the names of the package.
                names.discard(".".join(place))
    return names


def is_module(name: str) -> bool:
    place = PACKAGE.joinpath(*name.split(".")[1:])
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def files_of(floor: str) -> list[Path]:
    return sorted((PACKAGE / floor).rglob("*.py"))


def rooms_imported(path: Path) -> set[str]:
    """The rooms of the package that a file imports from."""
    names = (name.split(".") for name in imported_modules(path))
    return {parts[1] for parts in names if parts[0] == "jal_hf" and len(parts) > 1} & set(ROOMS)


def test_every_file_lies_in_a_room() -> None:
    top = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert top == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_nothing_from_its_own_floor_or_above(room: str) -> None:
    number = next(place for place, floor in enumerate(FLOORS) if room in floor)
    allowed = {room, *(other for floor in FLOORS[number + 1 :] for other in floor)}
    # Labels wrong by images are drawn by the noise floor, so data stands on it; models stand beside data.
    if room in ONLY:
        allowed = {room, *ONLY[room]}
    for path in files_of(room):
        above = rooms_imported(path) - allowed
        assert not above, f"{path.name} of {room} imports from {sorted(above)}"


def import_graph() -> dict[str, set[str]]:
    """Modules of the package and those that each imports, at the top of the file or inside functions."""
    known = {module_name(path) for path in PACKAGE.rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        names = imported_modules(path, with_members=True)
        graph[module_name(path)] = (names & known) - {module_name(path)}
    return graph


def module_name(path: Path) -> str:
    parts = ("jal_hf", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_circle_of_imports() -> None:
    graph = import_graph()
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for other in sorted(graph[module]):
            visit(other, (*path, module))
        done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_only_the_command_line_knows_words_of_a_command() -> None:
    for path in PACKAGE.rglob("*.py"):
        if "cli" in path.relative_to(PACKAGE).parts or path.name == "__main__.py":
            continue
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\bargv\b|shlex\.split", text), f"{path.name} knows the words of a command"


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
        ("import jal_hf.cli.compare as m; m.parser()", ("torch", "transformers", "datasets", "matplotlib")),
        ("import jal_hf.cli.train as m; m.parser()", ("timm", "evaluate", "matplotlib")),
    ],
)
def test_import_stays_light(statement: str, unwanted: tuple[str, ...]) -> None:
    code = f"import sys; {statement}; print([name for name in {unwanted!r} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_public_names_all_resolve() -> None:
    assert [name for name in jal_hf.__all__ if getattr(jal_hf, name, None) is None] == []


def test_no_public_name_is_also_a_modules_of_its_package() -> None:
    """Whichever was imported last would win, under some releases of lazy_loader."""
    found = []
    for stub in PACKAGE.rglob("__init__.pyi"):
        for node in ast.parse(stub.read_text()).body:
            for alias in node.names if isinstance(node, ast.ImportFrom) else []:
                name = alias.asname or alias.name
                if (stub.parent / f"{name}.py").exists() or (stub.parent / name).is_dir():
                    found.append(f"{stub.parent.name}.{name}")
    assert found == []
