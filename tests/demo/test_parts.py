"""What the page shows and says, without a browser and without gradio."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jal_hf import create_loss, list_losses
from jal_hf.analysis.loss_curves import POINTS, loss_curves_figure, loss_values
from jal_hf.analysis.report_page import read_report
from jal_hf.analysis.thumbnails import picture_of_uri, thumbnail_uri
from jal_hf.cli.main import main
from jal_hf.ground.record import RunRecord
from jal_hf.hub.text import percent
from jal_hf.runs.demo.answers import ALL, Answers
from jal_hf.runs.demo.knobs import MOST_KNOBS, curves_of, knobs
from jal_hf.runs.demo.page import headline
from jal_hf.runs.demo.run_place import run_folder
from jal_hf.runs.demo.suspects import Suspect, read_suspects
from jal_hf.runs.prediction import load_classifier, predict_images
from tests.demo.conftest import HOSTILE, NAMES


def test_suspects_are_the_contradicted_rows_of_the_audits_page(run: Path) -> None:
    content = read_report(run / "audit" / "report.html")
    columns = content["columns"]
    contradicted = [
        place
        for place, given in enumerate(columns["given_label"])
        if given != columns["suggested_label"][place]
    ]
    suspects = read_suspects(run)
    assert [suspect.index for suspect in suspects] == [columns["index"][place] for place in contradicted]
    assert [suspect.given for suspect in suspects] == [
        NAMES[columns["given_label"][place]] for place in contradicted
    ]
    first = suspects[0]
    assert thumbnail_uri(np.asarray(first.picture)[..., 0]) == content["thumbnails"][contradicted[0]]
    assert first.enlarged().size == (128, 128)
    assert dict(first.facts)["true label"].startswith(("class ", "</script>"))
    assert len(read_suspects(run, most=3)) == 3


@pytest.mark.parametrize(
    "page",
    [
        "no page",
        '<script id="data">[]</script>',
        '<script id="data">{"columns": {}, "class_names": [], "thumbnails": [1]}</script>',
        '<script id="data">{"columns": {"given_label": [0], "suggested_label": [1]}, "class_names": ["a", "b"], '
        '"thumbnails": ["data:text/html;base64,PGI+"]}</script>',
    ],
)
def test_suspects_of_a_page_of_another_form_are_refused_with_a_sentence(tmp_path: Path, page: str) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "report.html").write_text(page)
    with pytest.raises(ValueError, match=r"page of an audit|thumbnail"):
        read_suspects(tmp_path)


def test_thumbnail_of_a_huge_or_foreign_picture_is_refused() -> None:
    large = thumbnail_uri(np.zeros((900, 900), np.uint8), side=900)
    for uri in (large, "https://a.b/c.png", "data:image/svg+xml;base64,PHN2Zz4=", None, large[:60]):
        with pytest.raises(ValueError, match="thumbnail"):
            picture_of_uri(uri)


def test_classifier_gives_what_predict_gives_and_the_likeliest_classes_in_order(
    run: Path, image: Path
) -> None:
    (alone,) = predict_images(run, [image])
    (answers,) = load_classifier(run, most=5)([image])
    assert answers[0] == alone
    assert len(answers) == 5
    assert [answer["score"] for answer in answers] == sorted(
        (answer["score"] for answer in answers), reverse=True
    )
    assert Answers(run, str(run)).classify(str(image)) == {
        answer["label"]: pytest.approx(answer["score"]) for answer in answers
    }


def test_answers_filter_suspects_by_given_class_and_tell_all_of_one(run: Path) -> None:
    answers = Answers(run, str(run))
    assert answers.given_classes()[0] == ALL
    chosen = answers.given_classes()[1]
    wanted = [suspect for suspect in answers.suspects if suspect.given == chosen]
    assert [caption for _, caption in answers.gallery(chosen)] == [suspect.caption for suspect in wanted]
    facts, scores = answers.suspect(chosen, 0)
    assert facts == wanted[0].facts
    assert scores is not None
    assert len(scores) == 5
    assert answers.classify(None) is None


def test_answers_of_a_run_without_audit_name_the_command(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("audit"))
    answers = Answers(folder, str(folder))
    assert answers.suspects == []
    assert "jal-hf audit" in answers.why_no_suspects
    assert str(folder) in answers.why_no_suspects


def test_names_of_a_suspect_are_one_short_line() -> None:
    suspect = Suspect(
        picture_of_uri(thumbnail_uri(np.zeros((8, 8), np.uint8))), 1, 2, None, "a\nb" * 90, HOSTILE, None, 0.5
    )
    assert "\n" not in suspect.caption
    assert len(suspect.caption) < 40


def test_names_that_begin_alike_are_told_apart_below_a_picture() -> None:
    picture = picture_of_uri(thumbnail_uri(np.zeros((8, 8), np.uint8)))
    suspect = Suspect(picture, 1, 2, None, "warehouse number 10", "warehouse number 20", None, 0.5)
    assert suspect.caption == "...10 → ...20"
    assert replace(suspect, given="pickup truck").caption == "pickup truck → warehouse n..."


def test_run_folder_refuses_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no finished run"):
        run_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        run_folder(tmp_path / "absent")
    with pytest.raises(ConnectionError, match="the Hub does not give such a repository"):
        run_folder("nobody/nothing")


@pytest.mark.parametrize("name", list_losses())
def test_every_loss_has_knobs_whose_ends_it_accepts(name: str) -> None:
    moved = knobs(name)
    assert len(moved) <= MOST_KNOBS
    for knob in moved:
        assert knob.least <= knob.value <= knob.most
        # A slider stands on whole steps from its least value; the default must be one of them.
        steps = (knob.value - knob.least) / knob.step
        assert steps == pytest.approx(round(steps), abs=1e-6)
        for end in (knob.least, knob.most):
            create_loss(name, **{knob.name: end})


def test_loss_values_are_those_of_the_loss_at_p_of_the_given_label() -> None:
    p = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(loss_values(create_loss("ce"), p, 7), -np.log(p), rtol=1e-12)
    np.testing.assert_allclose(loss_values(create_loss("gce", q=0.5), p, 7), (1 - p**0.5) / 0.5, rtol=1e-6)
    loss = create_loss("jal-ce", reduction="none")
    logits = torch.log(torch.tensor([[0.3] + [0.7 / 9] * 9], dtype=torch.float64))
    expected = float(loss(logits, torch.zeros(1, dtype=torch.long)))
    assert loss_values(loss, np.array([0.3]), 10)[0] == pytest.approx(expected, rel=1e-9)


def test_loss_curves_change_with_a_knob_and_refuse_what_the_loss_refuses() -> None:
    default, moved = (np.asarray(curves_of("gce", [q], 10)) for q in (0.7, 0.2))
    assert default.shape == moved.shape
    assert (default != moved).any()
    with pytest.raises(ValueError, match="gce: q must be"):
        curves_of("gce", [-1.0], 10)
    figure = loss_curves_figure({"ce": create_loss("ce"), "mae": create_loss("mae")}, 3)
    value_axes, pull_axes = figure.axes
    np.testing.assert_allclose(pull_axes.lines[0].get_ydata(), (1 - POINTS) / (1 - POINTS[0]), rtol=1e-9)
    assert min(value_axes.lines[1].get_ydata()) == 0.0
    with pytest.raises(ValueError, match="No loss was given"):
        loss_curves_figure({})


def test_demo_without_gradio_names_the_line_that_installs_it(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["demo", str(run)]) == 2
    assert "pip install 'jal_hf[demo]'" in capsys.readouterr().err


def test_the_page_tells_the_accuracy_of_the_weights_in_the_folder(run: Path) -> None:
    record = RunRecord.read(run)
    assert f"test accuracy, last epoch **{percent(record.last['accuracy'])}**" in headline(record)
    saved = {"accuracy": 0.125, "epoch": 3.0, "chosen_by": "validation_loss"}
    best = record.replace(metrics={**record.metrics, "saved": saved})
    assert "test accuracy, epoch 3, chosen by the validation split's loss **12.50 %**" in headline(best)
