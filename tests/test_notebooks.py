"""The notebooks run, and are committed as they ran: small, without errors, without a trace of the machine."""

from __future__ import annotations

import base64
import json
import os
import re
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "examples" / "notebooks").glob("*.ipynb"))
LARGEST = 300_000
PLACES = re.compile(r"/(?:home|root|tmp|Users|work|content|opt)/|[A-Z]:\\\\|site-packages|ipykernel_\d")


def content_of(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def outputs_of(path: Path) -> list[dict[str, Any]]:
    return [output for cell in content_of(path)["cells"] for output in cell.get("outputs", [])]


def text_of(output: dict[str, Any]) -> str:
    """What a reader sees of an output, pictures aside."""
    shown = [
        output.get("text", ""),
        *(value for kind, value in output.get("data", {}).items() if "image" not in kind),
    ]
    return "\n".join("".join(part) for part in shown)


def forms_of(outputs: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Kind of each output of a cell and its lines; how a stream was cut into messages depends on the clock."""
    forms: list[tuple[str, int]] = []
    for stream, group in groupby(outputs, key=lambda output: output.get("name", "")):
        alike = list(group)
        if stream:
            forms.append((stream, len("".join(map(text_of, alike)).splitlines())))
        else:
            forms += [(output["output_type"], len(text_of(output).splitlines())) for output in alike]
    return forms


def test_there_are_four_tutorials() -> None:
    assert [path.stem[0] for path in NOTEBOOKS] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_valid_small_and_was_run_without_errors(path: Path) -> None:
    content, outputs = content_of(path), outputs_of(path)
    assert path.stat().st_size < LARGEST
    assert (content["nbformat"], content["nbformat_minor"]) >= (4, 5)
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert all("".join(cell["source"]).strip() for cell in code)
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert len(outputs) >= 3
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert not [output for output in outputs if output.get("name") == "stderr"]
    pictures = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert pictures
    assert all(base64.b64decode("".join(picture)).startswith(b"\x89PNG") for picture in pictures)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_shows_nothing_of_the_machine_that_ran_it(path: Path) -> None:
    for output in outputs_of(path):
        found = PLACES.search(text_of(output))
        assert found is None, f"{path.name} shows {found and found[0]!r}"
    assert "/root" not in json.dumps(content_of(path)["metadata"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_passes_the_schema(path: Path) -> None:
    nbformat = pytest.importorskip(
        "nbformat", reason="nbformat is not installed: pip install 'jal_hf[notebooks]'"
    )
    errors = list(nbformat.validator.iter_validate(nbformat.read(path, as_version=4)))
    assert errors == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_from_top_to_bottom(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = "not installed: pip install 'jal_hf[notebooks]'"
    nbformat = pytest.importorskip("nbformat", reason=f"nbformat is {missing}")
    nbclient = pytest.importorskip("nbclient", reason=f"nbclient is {missing}")
    pytest.importorskip("ipykernel", reason=f"ipykernel is {missing}")
    # The kernel is another process and works elsewhere.
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(path.parents[2]), os.environ.get("PYTHONPATH", "")])
    )
    book = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(book, timeout=1500, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    committed, ran = (
        [forms_of(cell.get("outputs", [])) for cell in cells]
        for cells in (content_of(path)["cells"], book.cells)
    )
    assert committed == ran
