"""Two processes give what one gives: parameters, data, evaluation."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.distributed import scenarios
from tests.distributed.launch import two_processes
from tests.distributed.ports import free_port

pytestmark = pytest.mark.timeout(600)  # the launch is quick on a free machine

TOLERANCE = {"float32": 1e-5, "float64": 1e-9}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Results and weights of all scenarios on two processes."""
    folder = tmp_path_factory.mktemp("two")
    launched = two_processes("tests.distributed.scenarios", str(folder), port=free_port())
    output, _ = launched.communicate(timeout=560)
    assert launched.returncode == 0, output[-4000:]
    return json.loads((folder / "results.json").read_text()), load_file(folder / "tensors.safetensors")


@pytest.fixture(
    scope="module", params=scenarios.SPLITS, ids=lambda split: f"{split[0]}-accumulation-{split[1]}"
)
def alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """The same training on one process."""
    dtype, accumulation = request.param
    weights, figures = scenarios.train(tmp_path_factory.mktemp("one"), 1, dtype, accumulation)
    return dtype, f"{dtype}-{accumulation}", weights, figures


@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_parameters_agree_with_one_process(
    engine: str, alone: tuple[Any, ...], both: tuple[Any, ...]
) -> None:
    dtype, name, weights, _ = alone
    for key, value in weights.items():
        other = both[1][f"{engine}-{name}/{key}"]
        difference = float((other - value).norm() / value.norm())
        assert difference < TOLERANCE[dtype], f"{key} differs by {difference:.2e}"


def test_evaluation_agrees_with_one_process_and_counts_each_row_once(
    alone: tuple[Any, ...], both: tuple[Any, ...]
) -> None:
    _, name, _, figures = alone
    theirs = both[0][name]
    assert theirs["predictions"] == figures["predictions"] == scenarios.EVAL_ROWS
    assert theirs["eval_accuracy"] == figures["eval_accuracy"]
    assert theirs["eval_loss"] == pytest.approx(figures["eval_loss"], rel=1e-6)


def test_rows_of_a_stream_are_scored_once_or_not_at_all(both: tuple[Any, ...]) -> None:
    rows, *said = both[0]["stream"]
    assert rows == scenarios.EVAL_ROWS
    assert [sentence.split(".")[0] for sentence in said] == 2 * [
        "With dispatch_batches=False several processes cannot score each row of a stream once"
    ]


def test_evaluation_loss_is_the_mean_over_the_labels_where_no_logits_are_kept(
    both: tuple[Any, ...], tmp_path: Path
) -> None:
    trainer = scenarios.make_trainer(tmp_path, 1, 1, torch.float32)
    rows = trainer.eval_dataset
    with torch.no_grad():
        expected = float(trainer.criterion(trainer.model(rows.pixels), rows.labels))
    for found in (scenarios.losses_without_logits(tmp_path, 1), both[0]["without logits"]):
        assert found == pytest.approx(dict.fromkeys(scenarios.WITHOUT_LOGITS, expected), rel=1e-6)


def test_evaluation_uses_the_buffers_that_a_checkpoint_holds(both: tuple[Any, ...], tmp_path: Path) -> None:
    # Each process has batch-norm statistics of its own share; a checkpoint holds those of the first.
    trainer = scenarios.make_trainer(tmp_path, 1, 1, torch.float32, scenarios.WithBatchNorm())
    trainer.model.load_state_dict(
        {k.removeprefix("bn/"): v for k, v in both[1].items() if k.startswith("bn/")}
    )
    figures = scenarios.evaluation(trainer)
    assert both[0]["batch-norm"]["sum"] == pytest.approx(figures["sum"], rel=1e-5)


def test_order_labels_and_augmentation_do_not_depend_on_the_number_of_processes(
    both: tuple[Any, ...], tmp_path: Path
) -> None:
    alone = scenarios.seen_rows(tmp_path, 1)
    assert len({row[0] for row in alone}) == 14
    np.testing.assert_allclose(both[0]["seen"], alone, rtol=1e-6)


def test_rows_are_counted_alike_where_the_last_ones_of_an_epoch_are_left_out(
    both: tuple[Any, ...], tmp_path: Path
) -> None:
    alone = {name: scenarios.counted_labels(tmp_path / name, 1, name) for name in scenarios.LEAVING_OUT}
    assert alone["drop_last"] == alone["one-row"] == [8] * 5
    assert alone["not-one-row"] == alone["dispatched"] == [8] * 5 + [5]
    assert both[0]["counted"] == alone


def test_rows_grouped_by_length_are_each_seen_once_an_epoch_whatever_the_processes_and_after_a_resume(
    both: tuple[Any, ...], tmp_path: Path
) -> None:
    alone = scenarios.grouped_rows(tmp_path, 1)
    assert [sorted(row for step, row in alone if step // 6 == epoch) for epoch in (0, 1)] == [
        list(range(scenarios.ROWS))
    ] * 2
    assert [row for step, row in alone if step < 6] != [row for step, row in alone if step >= 6]
    assert both[0]["grouped"] == alone
    resumed = scenarios.grouped_rows(tmp_path / "resumed", 1, resume_at=8)
    assert resumed == [[step, row] for step, row in alone if step >= 8]


def test_resume_within_an_epoch_goes_on_with_the_same_data_on_two_processes(both: tuple[Any, ...]) -> None:
    whole = [row for row in both[0]["seen"] if row[0] >= 12]
    resumed = both[0]["seen-resumed"]
    np.testing.assert_allclose([row for row in resumed if row[0] >= 12], whole, rtol=1e-6)
    assert min(row[0] for row in resumed) == 4


def test_signal_to_one_process_stops_both_after_the_same_step_and_resumes_bit_equal(
    both: tuple[Any, ...],
) -> None:
    found = both[0]["signal"]
    assert found["stopped_by"] == signal.SIGTERM
    assert found["step"] in (8, 9)
    assert found["whole"]
    assert found["end"] == scenarios.STEPS
    assert found["equal"]


def test_non_finite_loss_on_one_process_stops_both_with_the_rows_of_both(both: tuple[Any, ...]) -> None:
    message = both[0]["non-finite"]
    assert "Rows whose logits are not finite: 30." in message
    rows = message.split("Indices of the batch: ")[1].split(".")[0].split(", ")
    assert len(rows) == scenarios.GLOBAL_BATCH
