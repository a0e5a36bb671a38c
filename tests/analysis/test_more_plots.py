"""Pull of losses against its formula, features by t-SNE, several runs in one picture, TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from jal_hf.analysis.embedding import embedding_figure, extract_features, tsne
from jal_hf.analysis.gradients import (
    gradient_figure,
    gradient_magnitude,
    named_losses,
    plot_gradient_magnitude,
)
from jal_hf.analysis.loss_curves import loss_curves_figure, loss_values
from jal_hf.analysis.style import new_figure, save_figure
from jal_hf.cli.main import main
from jal_hf.losses import create_loss

pytestmark = pytest.mark.usefixtures("drawn")

P = np.linspace(0.01, 0.99, 21)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        # dL/dz_y = dL/dp_y p_y (1 - p_y) for a loss of p_y alone.
        ("ce", lambda p: 1 - p),
        ("mae", lambda p: 2 * p * (1 - p)),
        ("gce", lambda p: p**0.7 * (1 - p)),
    ],
)
def test_gradient_magnitude_equals_the_derivative_by_hand(name: str, formula: Any) -> None:
    np.testing.assert_allclose(gradient_magnitude(create_loss(name), P, 10), formula(P), rtol=1e-9)


def test_gradient_magnitude_refuses_the_ends_of_the_interval() -> None:
    with pytest.raises(ValueError, match="strictly between"):
        gradient_magnitude(create_loss("ce"), np.array([0.0]), 10)


def test_gradient_figure_scales_each_loss_to_one() -> None:
    figure = gradient_figure({name: create_loss(name) for name in ("ce", "jal-ce", "mae")})
    assert [float(np.max(line.get_ydata())) for line in figure.axes[0].lines] == [1.0, 1.0, 1.0]


def test_losses_are_drawn_by_name_as_objects_and_mixed(tmp_path: Path) -> None:
    mixed = ["ce", create_loss("gce", q=0.5), create_loss("gce"), "mae"]
    names = ["ce", "gce", "gce (2)", "mae"]
    for figure in (gradient_figure(mixed), loss_curves_figure(iter(mixed))):
        assert [text.get_text() for text in figure.legends[0].get_texts()] == names
    chosen = gradient_figure({"q 0.5": create_loss("gce", q=0.5), "mine": "ce"})
    assert [text.get_text() for text in chosen.legends[0].get_texts()] == ["q 0.5", "mine"]
    assert list(named_losses("ce")) == ["ce"]
    np.testing.assert_array_equal(
        gradient_magnitude("mae", P, 5), gradient_magnitude(create_loss("mae"), P, 5)
    )
    np.testing.assert_array_equal(loss_values("mae", P, 5), loss_values(create_loss("mae"), P, 5))
    assert [path.name for path in plot_gradient_magnitude(["ce"], tmp_path / "a")] == ["a.png", "a.svg"]
    for nothing, error, sentence in (
        ([], ValueError, "at least one"),
        (["nonsense"], ValueError, "no loss named"),
        ([3], TypeError, "must be a loss"),
    ):
        with pytest.raises(error, match=sentence):
            gradient_figure(nothing)  # type: ignore[arg-type]


class Rows:
    """Four separated groups in eight dimensions, as ready batches."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.labels = torch.arange(60) % 4
        centres = 6.0 * torch.randn(4, 8, generator=generator)
        self.pixels = centres[self.labels] + torch.randn(60, 8, generator=generator)

    def __getitems__(self, rows: list[int]) -> dict[str, torch.Tensor]:
        return {"pixel_values": self.pixels[rows], "labels": self.labels[rows]}


def test_features_are_what_the_last_layer_sees_and_keep_the_mode() -> None:
    body, head = nn.Linear(8, 6), nn.Linear(6, 4)
    model = nn.Sequential(body, nn.Dropout(0.9), head).train()
    data = Rows()
    features = extract_features(model, data, list(range(60)), 4, batch_size=7)
    np.testing.assert_allclose(features, body(data.pixels).detach().numpy(), rtol=1e-5, atol=1e-5)
    assert model.training
    assert not head._forward_pre_hooks
    with pytest.raises(ValueError, match="no linear layer with 5 outputs"):
        extract_features(model, data, [0], 5)


def test_tsne_keeps_groups_together_and_every_class_is_marked() -> None:
    data = Rows()
    points = tsne(data.pixels.numpy())
    labels = data.labels.numpy()
    middles = np.stack([points[labels == k].mean(axis=0) for k in range(4)])
    nearest = np.linalg.norm(points[:, None] - middles[None], axis=2).argmin(axis=1)
    assert (nearest == labels).mean() > 0.95
    figure = embedding_figure(points, labels, ["0", "cat", "dog", "owl"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0", "1 cat", "2 dog", "3 owl"]
    assert len({tuple(map(tuple, part.get_paths()[0].vertices)) for part in figure.axes[0].collections}) == 4


def test_plot_command_draws_runs_together_losses_and_reports_to_tensorboard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    quick = ["train", "digits", "--num_train_epochs", "1", "--disable_tqdm", "true"]
    runs = [str(tmp_path / loss) for loss in ("ce", "jal-ce")]
    for run in runs:
        reported = ["--report_to", "tensorboard"] if run == runs[0] else []
        assert main([*quick, "--loss", Path(run).name, "--output_dir", run, *reported]) == 0
    events = sorted(Path(runs[0]).rglob("events.out.tfevents*"))
    images: set[str] = set()
    for file in events:
        accumulator = EventAccumulator(str(file))
        accumulator.Reload()
        images |= set(accumulator.Tags()["images"])
    assert images == {"plots/curves", "plots/transition_matrix", "plots/confidence_histogram"}
    assert not list(Path(runs[1]).rglob("events.out.tfevents*"))

    capsys.readouterr()
    assert main(["plot", *runs, "--output", str(tmp_path / "both.png")]) == 0
    drawing = (tmp_path / "both.svg").read_text()
    assert "jal-ce" in drawing
    assert main(["plot", runs[1]]) == 0
    assert "curves.png" in capsys.readouterr().out
    assert main(["plot", "--gradients", "ce,mae", "--output", str(tmp_path / "pull.png")]) == 0
    assert (tmp_path / "pull.svg").is_file()
    assert main(["plot"]) == 2
    assert "Name at least one run's folder" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [".pdf", ".JPG", ".webp"])
def test_picture_of_another_kind_is_written_as_its_ending_says(kind: str, tmp_path: Path) -> None:
    asked = tmp_path / f"curve{kind}"
    written = save_figure(new_figure(1, 1), asked)
    assert [path.name for path in written] == ["curve.png", "curve.svg", asked.name]
    begin = {".pdf": b"%PDF", ".JPG": b"\xff\xd8\xff", ".webp": b"RIFF"}[kind]
    content = asked.read_bytes()
    assert content.startswith(begin)
    save_figure(new_figure(1, 1), asked)
    assert asked.read_bytes() == content


def test_picture_keeps_a_dot_in_its_name(tmp_path: Path) -> None:
    names = ("symmetric-0.4", "symmetric-0.8", "upper.PNG")
    written = [file.name for name in names for file in save_figure(new_figure(1, 1), tmp_path / name)]
    stems = ("symmetric-0.4", "symmetric-0.8", "upper")
    assert written == [f"{stem}.{ending}" for stem in stems for ending in ("png", "svg")]
    assert sorted(path.name for path in tmp_path.iterdir()) == written


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "--gradients", "ce"], "--gradients draws losses"),
        (["--gradients", "ce", "--tsne"], "--tsne draws the test images of one run"),
        (["run", "other", "--tsne"], "--tsne draws the test images of one run"),
        (["run", "--num_classes", "5"], "--num_classes is for --gradients"),
    ],
)
def test_plot_refuses_flags_that_would_do_nothing(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_plot_of_one_run_takes_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", str(tmp_path / "run"), "--output", str(tmp_path / "one.png")]) == 2
    assert "those of a run go to" in capsys.readouterr().err
