"""Plots are drawn from run.json and log.jsonl alone, as PNG and SVG, without touching global state."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from fontTools.ttLib import TTFont
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from jal_hf.analysis import plot_curves, plot_run, plot_transition_matrix
from jal_hf.analysis.curves import curves_figure
from jal_hf.analysis.embedding import embedding_figure
from jal_hf.analysis.gradients import gradient_figure
from jal_hf.analysis.grid_plots import bars_figure, mean_log
from jal_hf.analysis.histograms import confidence_histogram_figure
from jal_hf.analysis.matrices import transition_matrix_figure
from jal_hf.analysis.picture_grid import picture_grid_figure
from jal_hf.analysis.run_plots import run_figures
from jal_hf.analysis.style import figure_picture, shown_apart
from jal_hf.analysis.tables import GridTable, TableCell
from jal_hf.ground.run_log import read_log
from jal_hf.losses import create_loss
from jal_hf.training.diagnostics import confidence_histogram

pytestmark = pytest.mark.usefixtures("drawn")

NAMES = ("curves", "transition_matrix", "confidence_histogram")


def make_run(folder: Path, classes: int = 10, epochs: int = 4) -> Path:
    matrix = np.full((classes, classes), 0.4 / (classes - 1))
    np.fill_diagonal(matrix, 0.6)
    histogram = confidence_histogram([0.9, 0.8, 0.1, 0.05], [False, False, True, True])
    record: dict[str, Any] = {
        "dataset": {"name": "digits", "class_names": [f"class {k}" for k in range(classes)]},
        "noise": {
            "spec": "symmetric:0.4",
            "transition_matrix": matrix.tolist(),
            "realised_matrix": matrix.tolist(),
        },
        "loss": {"name": "jal-ce"},
        "model": {"name": "net"},
        "metrics": {"train": {"confidence_histogram": histogram}},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(record))
    lines = []
    for epoch in range(1, epochs + 1):
        lines.append({"step": epoch, "epoch": epoch, "loss": 90.0 - epoch})
        lines.append({"step": epoch, "epoch": epoch, "eval_accuracy": 0.5 if epoch == 2 else 0.4})
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return folder


@pytest.mark.parametrize("classes", [10, 100])
def test_plot_run_writes_three_pictures_in_both_formats(tmp_path: Path, classes: int) -> None:
    written = plot_run(make_run(tmp_path, classes))
    assert {path.name for path in written} == {f"{name}.{kind}" for name in NAMES for kind in ("png", "svg")}
    for path in written:
        assert path.parent == tmp_path / "plots"
        if path.suffix == ".png":
            with Image.open(path) as picture:
                # A picture of one colour would be an empty one.
                assert len(set(picture.convert("L").resize((64, 64)).tobytes())) > 8
        else:
            assert path.read_text().lstrip().startswith("<?xml")


def test_plot_run_leaves_out_pictures_without_facts(tmp_path: Path) -> None:
    make_run(tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    record["noise"] = {"spec": "none", "transition_matrix": None, "realised_matrix": None}
    del record["metrics"]["train"]["confidence_histogram"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert {path.stem for path in plot_run(tmp_path)} == {"curves"}


def test_plot_run_refuses_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no finished run"):
        plot_run(tmp_path)


def test_plots_repeat_byte_for_byte_and_keep_global_state(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    first = {path.name: path.read_bytes() for path in plot_run(make_run(tmp_path))}
    second = {path.name: path.read_bytes() for path in plot_run(tmp_path)}
    assert first == second
    assert dict(matplotlib.rcParams) == before


def test_curves_mark_last_and_best_as_such(tmp_path: Path) -> None:
    figure = curves_figure({"run": read_log(make_run(tmp_path))})
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "best: 50.00 % (epoch 2)" in labels
    assert "last: 40.00 % (epoch 4)" in labels


def test_curves_call_noisy_validation_accuracy_by_its_name(tmp_path: Path) -> None:
    make_run(tmp_path)
    log = tmp_path / "log.jsonl"
    log.write_text(log.read_text().replace("eval_accuracy", "validation_accuracy"))
    alone = run_figures(tmp_path)["curves"]
    assert alone.axes[0].get_ylabel() == "noisy validation accuracy (%)"
    several = curves_figure({"ce": read_log(tmp_path), "jal-ce": mean_log([read_log(tmp_path)])})
    assert several.axes[0].get_ylabel() == "noisy validation accuracy (%)"
    assert [len(line.get_xdata()) > 0 for line in several.axes[0].lines] == [True, True]


def test_curves_of_two_runs_differ_in_dash_and_marker(tmp_path: Path) -> None:
    log = read_log(make_run(tmp_path))
    lines = curves_figure({"ce": log, "jal-ce": log}).axes[0].lines
    assert len({line.get_linestyle() for line in lines}) == 2
    assert len({line.get_marker() for line in lines}) == 2


def test_curves_of_no_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No log was given"):
        plot_curves({}, tmp_path / "curves")


def test_log_leaves_out_a_line_cut_short_by_a_kill(tmp_path: Path) -> None:
    make_run(tmp_path, epochs=1)
    with (tmp_path / "log.jsonl").open("a") as handle:
        handle.write('{"step": 3, "epo')
    assert len(read_log(tmp_path)) == 2


def test_transition_matrix_annotates_up_to_twenty_classes() -> None:
    assert len(transition_matrix_figure(np.eye(20), None).axes[0].texts) == 20
    assert len(transition_matrix_figure(np.eye(21), None).axes[0].texts) == 0
    assert len(transition_matrix_figure(np.eye(100), None).axes[0].get_xticks()) == 10


def test_transition_matrix_labels_do_not_overlap_when_names_are_long() -> None:
    names = [f"a rather long class name {k}" for k in range(20)]
    figure = transition_matrix_figure(np.eye(20), np.eye(20), names)
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert all(left.x1 <= right.x0 + 1 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize("classes", [2, 10, 21])
@pytest.mark.parametrize("panels", [1, 2])
@pytest.mark.parametrize("length", [1, 12])
def test_transition_matrix_cuts_no_text_off(classes: int, panels: int, length: int) -> None:
    names = [chr(ord("a") + number) * length for number in range(classes)]
    figure = transition_matrix_figure(np.eye(classes), np.eye(classes) if panels == 2 else None, names)
    assert cut_off(figure) == []


def cut_off(figure: Figure) -> list[str]:
    """The texts that do not lie within the figure."""
    figure.canvas.draw()
    edge = figure.bbox.padded(1)
    cut = []
    for text in figure.findobj(Text):
        # Figures at ticks out of view are hidden, though they call themselves visible.
        if text.get_visible() and re.search("[a-z]", text.get_text()):
            box = text.get_window_extent()
            is_within = edge.x0 <= box.x0 <= box.x1 <= edge.x1 and edge.y0 <= box.y0 <= box.y1 <= edge.y1
            cut += [] if is_within else [text.get_text()]
    return cut


LONG = "jal-ce ema+warmup+gate+twin on digits, noise asymmetric:0.3,classes=0>1;2>3;4>5;6>7;8>9,mode=iid"


@pytest.mark.parametrize("title", [LONG, "w" * 200, "a $ of a price"])
def test_pictures_cut_no_title_off(title: str, tmp_path: Path) -> None:
    log = read_log(make_run(tmp_path))
    figures = [
        curves_figure({"run": log}, title),
        curves_figure({f"{title} 1": log, f"{title} 2": log}, title),
        confidence_histogram_figure({"edges": [0.0, 1.0], "given": [1]}, title),
        embedding_figure(np.eye(2, dtype=np.float32), np.arange(2), [title, "b"], title),
        picture_grid_figure([np.zeros((4, 4), dtype=np.uint8)], ["a"], title),
        gradient_figure({title: create_loss("ce")}),
    ]
    assert [cut_off(figure) for figure in figures] == [[]] * len(figures)


@pytest.mark.parametrize("noises", [1, 4])
def test_bars_of_long_noises_stand_apart(noises: int) -> None:
    specs = tuple(f"asymmetric:0.{number},classes=0>1;2>3;4>5,mode=iid" for number in range(noises))
    cells = {("ce", spec): TableCell(last=(50.0,)) for spec in specs}
    figure = bars_figure(GridTable(("ce",), specs, cells))
    assert cut_off(figure) == []
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize(
    ("name", "params", "marked"),
    [
        ("gate", {"warmup": 0.5}, {"gate begins": 5.0}),
        ("ema+gate", {"ema": {}, "gate": {"warmup": 0.0}}, {}),
        (
            "gate+refurbish",
            {"gate": {"warmup": 0.9}, "refurbish": {"start": 0.3}},
            {"gate begins": 9.0, "refurbish begins": 3.0},
        ),
        ("ema", {"decay": 0.5}, {}),
    ],
)
def test_training_loss_marks_where_a_method_changes_what_it_counts(
    name: str, params: dict[str, Any], marked: dict[str, float], tmp_path: Path
) -> None:
    run = make_run(tmp_path, epochs=10)
    record = json.loads((run / "run.json").read_text())
    record |= {"method": {"name": name, "params": params}, "training": {"epochs": 10.0}}
    (run / "run.json").write_text(json.dumps(record))
    figure = run_figures(run)["curves"]
    assert {text.get_text(): text.xy[0] for text in figure.axes[1].texts} == marked
    assert cut_off(figure) == []


def test_transition_matrix_tells_classes_apart_whose_long_names_begin_alike() -> None:
    names = [f"warehouse category number {number}" for number in range(10)]
    labels = transition_matrix_figure(np.eye(10), None, names).axes[0].get_xticklabels()
    assert len({label.get_text() for label in labels}) == 10


@pytest.mark.parametrize(
    ("names", "shortened"),
    [
        (["cat", "a dog of a long name"], ["cat", "a dog of ..."]),
        (["shelf of a 1", "shelf of a b", "shelf of 77"], ["shelf of a 1", "shelf of a b", "shelf of 77"]),
        (["hall number 10", "hall number 20"], ["...10", "...20"]),
        (["n020856200-Chihuahua", "n020856202-Collie"], ["...0-Chih...", "...2-Collie"]),
        (["a warehouse", "a warehouse and", "a warehouse of"], ["a warehouse", "...and", "...of"]),
        (["a warehouse x", "a warehouse x y"], ["...x", "...x y"]),
        (["aaaaaaaaaaaaa", "aaaaaaaaaaaaaa"], ["0 aaaaaaa...", "1 aaaaaaa..."]),
        (["the same of both", "the same of both"], ["the same ...", "the same ..."]),
    ],
)
def test_names_are_shortened_to_what_tells_them_apart(names: list[str], shortened: list[str]) -> None:
    assert shown_apart(names, 12) == shortened


@pytest.mark.parametrize(
    ("asked", "realised", "names", "sentence"),
    [
        (None, None, None, "give at least one"),
        (np.ones((2, 3)), None, None, "must be square"),
        (np.eye(2), np.eye(3), None, "different sizes"),
        (np.eye(3), None, ["a", "b"], "2 class names"),
    ],
)
def test_transition_matrix_refuses_what_cannot_be_drawn(
    tmp_path: Path, asked: Any, realised: Any, names: Any, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        plot_transition_matrix(asked, realised, names, tmp_path / "matrix")
    assert not list(tmp_path.iterdir())


def test_confidence_histogram_counts_both_groups() -> None:
    histogram = confidence_histogram([0.0, 1.0, 0.51], [True, False, False], bins=2)
    assert histogram == {"edges": [0.0, 0.5, 1.0], "clean": [0, 2], "wrong": [1, 0]}


def test_confidence_histogram_shows_shares_of_each_group() -> None:
    figure = confidence_histogram_figure({"edges": [0.0, 0.5, 1.0], "clean": [1, 3], "wrong": [10, 0]})
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == [25.0, 75.0, 100.0, 0.0]


def test_confidence_histogram_refuses_shapes_that_disagree() -> None:
    with pytest.raises(ValueError, match="must agree"):
        confidence_histogram([0.1, 0.2], [True])


@pytest.mark.parametrize(
    ("method", "label", "first"),
    [
        ("plain", "training loss above its floor", 4.9),
        ("ema", "training loss above its floor", 4.9),
        # A gate leaves rows out, and their part of the floor with them.
        ("ema+gate+twin", "training loss", 89.0),
    ],
)
def test_floor_is_taken_off_where_the_training_loss_has_it(
    method: str, label: str, first: float, tmp_path: Path
) -> None:
    run = make_run(tmp_path)
    record = json.loads((run / "run.json").read_text())
    record["loss"]["params"] = {"alpha": 1.0, "beta": 1.0, "a": 30.0, "q": 2.0}
    record["dataset"]["num_classes"] = 10
    record["method"] = {"name": method, "params": {}}
    (run / "run.json").write_text(json.dumps(record))
    figure = run_figures(run)["curves"]
    panel = next(axes for axes in figure.axes if axes.get_ylabel().startswith("training loss"))
    assert panel.get_ylabel() == label
    assert panel.lines[0].get_ydata()[0] == pytest.approx(first)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("warmup", {"share": 0.3, "fade": 0.1}),
        ("ema+warmup", {"ema": {}, "warmup": {"share": 0.4, "fade": 0.0}}),
    ],
)
def test_loss_is_drawn_after_the_warm_up_and_above_the_floor_of_its_scale(
    name: str, params: dict[str, Any], tmp_path: Path
) -> None:
    run = make_run(tmp_path)
    record = json.loads((run / "run.json").read_text())
    record["loss"]["params"] = {"alpha": 1.0, "beta": 1.0, "a": 30.0, "q": 2.0}
    record["dataset"]["num_classes"] = 10
    record["method"] = {"name": name, "params": params}
    record["training"] = {"epochs": 10.0, "loss_scale": 4.0}
    (run / "run.json").write_text(json.dumps(record))
    lines = [
        {"step": 5 * k, "epoch": float(k), "loss": 2.0 if k < 5 else 84.1 / 4 + 10 - k} for k in range(1, 11)
    ]
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    panel = next(axes for axes in run_figures(run)["curves"].axes if "warm-up" in axes.get_ylabel())
    assert panel.get_ylabel() == "loss above floor after warm-up"
    assert list(panel.lines[0].get_xdata()) == [5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    assert list(panel.lines[0].get_ydata()) == pytest.approx([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])


def test_names_in_other_scripts_are_drawn_by_fonts_that_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A font in which the Chinese cat looks as A does stands in for one of the system."""

    def drawn(name: str) -> bytes:
        return figure_picture(transition_matrix_figure(np.eye(2), None, [name, "b"])).tobytes()

    boxes, wanted = drawn("猫"), drawn("A")
    font = TTFont(font_manager.findfont("DejaVu Sans"))
    for table in font["cmap"].tables:
        table.cmap = {ord("猫"): "A"} if table.isUnicode() else {}
    for record in font["name"].names:
        if record.nameID in (1, 4, 6, 16):
            record.string = "Noto Sans CJK SC"
    font.save(tmp_path / "cjk.ttf")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    font_manager.fontManager.addfont(tmp_path / "cjk.ttf")
    try:
        assert drawn("猫") == wanted != boxes
    finally:
        monkeypatch.undo()
        font_manager.fontManager._findfont_cached.cache_clear()
    assert capfd.readouterr().err == ""
