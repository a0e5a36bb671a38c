"""The plots of a run and the worst labels of its audit reach TensorBoard and Weights & Biases."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jal_hf.analysis.picture_grid import label_captions, picture_grid_figure
from jal_hf.analysis.reporting import check_services, report_audit
from jal_hf.analysis.style import save_figure
from jal_hf.cli.main import main


def pictures(folder: Path) -> list[Path]:
    """A figure as the audit writes it, PNG and SVG."""
    images = [np.full((8, 8), 20 * number, np.uint8) for number in range(11)]
    figure = picture_grid_figure(images, [f"$a_{number}$ → b" for number in range(11)], "worst")
    return save_figure(figure, folder / "worst_labels")


def tensorboard_images(folder: Path) -> dict[str, int]:
    """Steps of the images under a folder by tag."""
    accumulators = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    found: dict[str, int] = {}
    for file in folder.rglob("events.out.tfevents*"):
        accumulator = accumulators.EventAccumulator(str(file))
        accumulator.Reload()
        for tag in accumulator.Tags()["images"]:
            found[tag] = accumulator.Images(tag)[0].step
    return found


def test_picture_grid_shows_each_picture_with_its_caption() -> None:
    figure = picture_grid_figure([np.zeros((4, 4), np.uint8)] * 9, [str(number) for number in range(9)])
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in shown] == [str(number) for number in range(9)]
    assert len(figure.axes) == 16
    for images, captions in (([], []), ([np.zeros((4, 4), np.uint8)], [])):
        with pytest.raises(ValueError, match="give at least one"):
            picture_grid_figure(images, captions)


def test_captions_of_pictures_show_given_and_suggested_class_however_long_their_names(tmp_path: Path) -> None:
    assert label_captions(["cat", "dog"], [0, 1], [1, 0]) == ["cat → dog", "dog → cat"]
    names = [f"warehouse category number {number} of the north" for number in range(3)]
    captions = label_captions(names, [0, 1], [1, 2])
    figure = picture_grid_figure([np.zeros((4, 4), np.uint8)] * 2, captions)
    save_figure(figure, tmp_path / "grid")
    assert [axes.get_title() for axes in figure.axes[:2]] == [
        "...0 of the north\n→ ...1 of the north",
        "...1 of the north\n→ ...2 of the north",
    ]


def test_services_are_checked_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="tensorboard, wandb"):
        check_services(["tensorbord"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install wandb"):
        check_services(["wandb"])
    check_services([])


def test_audit_reports_beside_the_curves_of_the_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from torch.utils.tensorboard import SummaryWriter

    place = tmp_path / "run" / "runs" / "then"
    with SummaryWriter(str(place)) as writer:
        writer.add_scalar("train/loss", 1.0, 1)
    drawn = pictures(tmp_path)
    report_audit(tmp_path / "run", drawn, ["tensorboard"], title="t", step=7)
    assert tensorboard_images(place) == {"audit/worst_labels": 7}
    report_audit(tmp_path / "other", drawn, ["tensorboard"], title="t", step=8)
    assert tensorboard_images(tmp_path / "other") == {"audit/worst_labels": 8}
    report_audit(tmp_path / "none", drawn, [], title="t", step=8)
    assert not (tmp_path / "none").exists()


def test_audit_command_draws_the_worst_labels_and_reports_where_it_is_asked(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    run = tmp_path / "run"
    words = [
        "train",
        "digits",
        "--num_train_epochs",
        "1",
        "--max_train_samples",
        "200",
        "--disable_tqdm",
        "true",
    ]
    assert main([*words, "--output_dir", str(run)]) == 0
    assert main(["audit", str(run), "--report_to", "tensorbord"]) == 2
    assert not (run / "audit").exists()
    assert main(["audit", str(run), "--report_to", "tensorboard"]) == 0
    assert (run / "audit" / "plots" / "worst_labels.png").is_file()
    images = tensorboard_images(run)
    assert set(images) == {"audit/worst_labels", "audit/transition_matrix", "audit/confidence_histogram"}
    assert set(images.values()) == {4}


@pytest.mark.slow
def test_wandb_gets_plots_and_worst_labels_offline(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(tmp_path)}
    train = [
        "train",
        "digits",
        "--num_train_epochs",
        "1",
        "--max_train_samples",
        "200",
        "--report_to",
        "wandb",
    ]
    for words in ([*train, "--output_dir", "run"], ["audit", "run", "--report_to", "wandb"]):
        subprocess.run(
            [sys.executable, "-m", "jal_hf", *words], cwd=tmp_path, env=environment, check=True, timeout=250
        )
    sent = sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("wandb/*/files/media/images/*/*.png")
    )
    groups = {
        (path.split("/")[-2], path.split("/")[-1].rpartition("_")[0].rpartition("_")[0]) for path in sent
    }
    assert {("plots", "curves"), ("plots", "transition_matrix"), ("audit", "worst_labels")} <= groups
