"""Comparisons of a grid on its cards, and the index of published cards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from jal_hf.hub import add_comparisons, render_model_card
from jal_hf.hub.card_index import main, render_index, run_folders
from tests.hub.records import write_example_record

PUBLISHED = Path(__file__).resolve().parents[2] / "model_cards"


def _grid(folder: Path, losses: tuple[str, ...]) -> list[dict[str, object]]:
    lines = []
    for loss in losses:
        for seed in (0, 1):
            cell = folder / f"{loss}-{seed}"
            cell.mkdir()
            write_example_record(cell, loss={"name": loss}, seed=seed)
            accuracy = {"ce": 0.6, "jal-ce": 0.9}[loss] + 0.02 * seed
            lines.append(
                {
                    "loss": loss,
                    "noise": "symmetric:0.4",
                    "seed": seed,
                    "accuracy": accuracy,
                    "folder": cell.name,
                }
            )
    return lines


def test_cards_of_a_grid_show_every_loss_beside_cross_entropy(tmp_path: Path) -> None:
    written = add_comparisons(_grid(tmp_path, ("ce", "jal-ce")), tmp_path)
    assert len(written) == 4
    for card in written:
        text = card.read_text(encoding="utf-8")
        assert "| `jal-ce` | 91.00 % | 1.41 % | 2 |\n| `ce` | 61.00 % | 1.41 % | 2 |" in text
        assert text == render_model_card(card.parent)
    again = add_comparisons([], tmp_path)
    assert again == []


def test_grid_without_cross_entropy_leaves_its_runs_alone(tmp_path: Path) -> None:
    lines = _grid(tmp_path, ("jal-ce",))
    assert add_comparisons(lines, tmp_path) == []
    assert "comparison" not in json.loads((tmp_path / "jal-ce-0" / "run.json").read_text())


def test_index_lists_and_renders_every_run(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    write_example_record(tmp_path / "digits")
    assert main([str(tmp_path)]) == 0
    assert (tmp_path / "README.md").read_text() == render_index(tmp_path)
    assert (
        "| [digits](digits/README.md) | digits | `symmetric:0.4` | `jal-ce` | 95.56 % | 20 s |"
        in render_index(tmp_path)
    )
    assert (tmp_path / "digits" / "README.md").read_text() == render_model_card(tmp_path / "digits")


def test_added_run_brings_its_record_and_its_pictures(tmp_path: Path) -> None:
    run, cards = tmp_path / "grid" / "ce-seed0", tmp_path / "cards"
    run.mkdir(parents=True)
    cards.mkdir()
    write_example_record(run)
    (run / "plots").mkdir()
    Image.effect_noise((64, 64), 40).convert("RGBA").save(run / "plots" / "curves.png")
    assert main([str(cards), "--prefix", "grid-", "--add", str(run)]) == 0
    added = cards / "grid-ce-seed0"
    assert (added / "run.json").read_text() == (run / "run.json").read_text()
    with Image.open(added / "plots" / "curves.png") as picture:
        assert picture.size == (64, 64)
    assert "[grid-ce-seed0](grid-ce-seed0/README.md)" in (cards / "README.md").read_text()


@pytest.mark.parametrize("words", [["ABSENT"], [".", "--add", "ABSENT"]])
def test_what_is_no_folder_or_no_run_is_named(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(words)
    assert "ABSENT" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("run", run_folders(PUBLISHED), ids=lambda path: path.name)
def test_published_card_is_what_its_record_renders_to(run: Path) -> None:
    assert (run / "README.md").read_text(encoding="utf-8") == render_model_card(run)


def test_published_index_is_up_to_date() -> None:
    if not PUBLISHED.is_dir():
        pytest.skip("model_cards/ is not part of this installation")
    assert (PUBLISHED / "README.md").read_text(encoding="utf-8") == render_index(PUBLISHED)
