"""Names from anywhere: literal in every picture, and no picture costs the card."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from jal_hf.analysis.style import new_figure, save_figure, shown, style_axes
from tests.attack.helpers import attack, first

pytestmark = pytest.mark.usefixtures("drawn")

NAMES = [
    "$\\frac{x",
    "$a$",
    "_hidden",
    "a\nb",
    "x" * 5000,
    "ünï \U0001f408",
    "dog{}%",
    "\0\x1b[31m",
    "\ud800",
    "^_{",
    "",
    " ",
    "a|b",
    "<b>",
    "=1+1",
]


def figure_of(names: list[str]) -> Figure:
    figure = new_figure(3.0, 3.0)
    axes = figure.subplots()
    for place, name in enumerate(names):
        axes.plot([0, 1], [place, 1], label=shown(name))
    axes.set_xticks(range(len(names)), [shown(name, 12) for name in names])
    style_axes(axes, title=names[0], x_label=names[-1])
    figure.legend()
    return figure


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:8]))
def test_name_is_drawn_as_it_is(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "No artists with labels", UserWarning)
        figure = figure_of([name])
        save_figure(figure, tmp_path / "picture")
    assert not any(text.get_parse_math() for text in figure.findobj(Text) if "$" in text.get_text())
    # Titles stand on several lines.
    lines = [line for text in figure.findobj(Text) for line in text.get_text().split("\n")]
    assert all(len(text.get_text()) < 300 for text in figure.findobj(Text))
    assert all(line.isprintable() for line in lines)
    assert all(
        "\n" not in text.get_text() for text in figure.findobj(Text) if text is not figure.axes[0].title
    )


@pytest.mark.parametrize(
    "draw", [pytest.param(4, id="few"), pytest.param(60, id="many", marks=pytest.mark.slow)]
)
def test_any_names_can_be_drawn(draw: int, tmp_path: Path) -> None:
    @settings(deadline=None, max_examples=draw)
    @given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
    def drawn(names: list[str]) -> None:
        written = save_figure(figure_of(names), tmp_path / "picture")
        assert all(path.stat().st_size > 0 for path in written)
        assert {path.suffix for path in written} == {".png", ".svg"}

    drawn()


@pytest.mark.parametrize("name", first(1, NAMES[:4] + NAMES[5:9]), ids=repr)
def test_class_names_of_a_run_cost_neither_plots_nor_card(name: str, run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    record["dataset"]["class_names"] = [f"{name}{k}" for k in range(10)]
    (run / "run.json").write_text(json.dumps(record))
    for picture in (run / "plots").glob("*"):
        picture.unlink()
    attack("plot", run, allowed=(0,))
    attack("card", run, allowed=(0,))
    assert (run / "plots" / "transition_matrix.png").is_file()


def test_picture_that_fails_costs_neither_the_run_nor_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jal_hf.runs.completion as completion
    from tests.attack.helpers import train

    for error in (KeyError("x"), AttributeError("x"), OverflowError("x"), IndexError("x")):

        def fails(*_: object, error: Exception = error) -> list[Path]:
            raise error

        monkeypatch.setattr(completion, "plot_run", fails)
        assert completion.draw(tmp_path) == []
    printed = train(tmp_path / "run", steps=1).printed
    assert "could not be drawn" in printed
    assert (tmp_path / "run" / "README.md").is_file()


@pytest.mark.parametrize("name", ["a|b", "a\nb", "\\input{x}", "~^", "$&%#_{}", "\x1b[31m"], ids=repr)
def test_label_file_of_any_name_breaks_no_table_of_a_grid(name: str) -> None:
    from jal_hf.analysis.tables import grid_table, latex_table, markdown_table
    from jal_hf.runs.grid.cells import Cell
    from jal_hf.runs.grid.ledger import result_line
    from tests.compare.helpers import record

    noise = f"labels:{name}.npz#x"
    table = grid_table([result_line(Cell("ce", noise, 0), record(0.5))], [], ["ce"], [noise])
    rows = [line for line in markdown_table(table).splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {3}
    latex = latex_table(table)
    assert "\\input" not in latex
    assert "\x1b" not in latex
    columns = next(line for line in latex.splitlines() if "Loss" in line)
    assert columns.count("&") - columns.count("\\&") == 1
    assert columns.endswith("\\\\")


@pytest.mark.parametrize("name", first(1, ["$\\frac{x", "_cat", "ünï \U0001f408"]), ids=repr)
def test_folders_of_classes_with_odd_names_are_trained_on(name: str, tmp_path: Path) -> None:
    from PIL import Image

    draw = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for folder in (name, "plain"):
            place = tmp_path / "data" / split / folder
            place.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(0, 255, (8, 8), dtype=np.uint8)).save(place / f"{number}.png")
    words = [
        "--max_steps",
        1,
        "--disable_tqdm",
        "true",
        "--save_strategy",
        "no",
        "--dataloader_num_workers",
        0,
    ]
    words += ["--dataset", tmp_path / "data", "--noise", "symmetric:0.2", "--output_dir", tmp_path / "run"]
    attack("train", "digits", *words, allowed=(0,))
    assert (tmp_path / "run" / "plots" / "transition_matrix.png").is_file()
    assert (tmp_path / "run" / "README.md").is_file()
