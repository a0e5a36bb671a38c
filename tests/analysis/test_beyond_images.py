"""Text, tokens and segmentation: the robust loss beats cross entropy under 40 % wrong labels, in each example."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from jal_hf.training.criterion import as_compute_loss_func, classes_second

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small batches on several threads spend their time waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "margin", "runs"),
    # Tokens: 57.3, 67.4 and 63.2 against 55.4, 55.2 and 55.1 %, so one seed says little there.
    [
        ("text_classification", 0.05, [{}]),
        ("token_classification", 0.05, [{"seed": 0}, {"seed": 1}, {"seed": 2}]),
        pytest.param("segmentation", 0.03, [{}], marks=pytest.mark.slow),
    ],
)
def test_robust_loss_beats_cross_entropy_beyond_images(
    name: str, margin: float, runs: list[dict[str, int]], tmp_path: Path
) -> None:
    module = example(name)
    mean = {
        loss: sum(module.main(loss, output_dir=str(tmp_path / loss), **run) for run in runs) / len(runs)
        for loss in ("jal-ce", "ce")
    }
    assert mean["jal-ce"] > mean["ce"] + margin


def test_coarse_segmentation_logits_are_scaled_up_to_the_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(2, 3, 4, 4, generator=generator)
    labels = torch.randint(0, 3, (2, 8, 8), generator=generator)
    labels[0, :2] = -100
    fine = torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear", align_corners=False)
    assert torch.equal(classes_second(coarse, labels), fine)
    expected = torch.nn.functional.cross_entropy(fine, labels)
    torch.testing.assert_close(as_compute_loss_func("ce")({"logits": coarse}, labels), expected)


def test_token_labels_of_padding_do_not_count() -> None:
    logits = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[0, 1, 2, -100, -100], [1, -100, -100, -100, -100]])
    value = as_compute_loss_func("ce")({"logits": logits}, labels)
    torch.testing.assert_close(
        value, torch.nn.functional.cross_entropy(logits[labels >= 0], labels[labels >= 0])
    )
