"""Schedules, hardware detection, metrics, folders and logs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from jal_hf import ImageClassificationMetric, JALTrainingArguments
from jal_hf.ground.record import RunRecord
from jal_hf.ground.run_log import evaluation_figures, read_log, saved_figures
from jal_hf.runs.folder import check_place, clear_the_way, find_start
from jal_hf.training.callbacks import LogFileCallback, ThroughputCallback
from jal_hf.training.checkpoints import mark_complete
from jal_hf.training.criterion import classes_second, logits_of
from jal_hf.training.diagnostics import (
    confidence_histogram,
    has_learned_nothing,
    lost_classes,
    training_set_figures,
)
from jal_hf.training.hardware import Processor, detect_hardware, this_processor
from jal_hf.training.metrics import classification_metrics
from jal_hf.training.schedules import epoch_factor, epoch_scheduler
from jal_hf.training.trainer import RobustTrainer
from tests.training.helpers import CLASSES, SIZE, Examples


def test_cosine_epoch_equals_torch_stepped_once_an_epoch() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    ours = torch.optim.SGD([parameter], lr=0.1)
    theirs = torch.optim.SGD([parameter], lr=0.1)
    schedule = epoch_scheduler(ours, "cosine_epoch", 3, 7, {})
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=7)
    for _ in range(7):
        for _ in range(3):
            assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"])
            ours.step()
            schedule.step()
        theirs.step()
        reference.step()


class RatesOfEpochs(TrainerCallback):
    """The rates of the steps of each epoch, counted as they come."""

    def __init__(self) -> None:
        self.rates: list[list[float]] = []

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self.rates.append([])

    def on_step_begin(self, *_: Any, optimizer: Any = None, **__: Any) -> None:
        self.rates[-1].append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize(
    ("rows", "steps", "changes"),
    [
        (18, [3, 3, 3], {"gradient_accumulation_steps": 2}),
        (17, [2, 2, 2], {"gradient_accumulation_steps": 2, "dataloader_drop_last": True}),
        (17, [4, 4, 4], {"max_steps": 12, "dataloader_drop_last": True}),
        (17, [4, 4, 4], {"max_steps": 12}),  # batch norm cannot train on the last row
        (8, [2, 1], {"num_train_epochs": 1.1}),
    ],
)
def test_epoch_of_a_schedule_is_as_long_as_that_of_the_loader(
    rows: int, steps: list[int], changes: dict[str, Any], tmp_path: Path
) -> None:
    counted = RatesOfEpochs()
    args = JALTrainingArguments(
        str(tmp_path), **{"num_train_epochs": 3, **changes}, per_device_train_batch_size=4, learning_rate=1.0,
        lr_scheduler_type="cosine_epoch", optim="sgd", use_cpu=True, save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.LazyLinear(CLASSES), torch.nn.BatchNorm1d(CLASSES)
    )
    model(torch.zeros(2, 3, SIZE, SIZE))
    RobustTrainer(
        model=model, args=args, train_dataset=Examples(rows), num_classes=CLASSES, callbacks=[counted]
    ).train()
    assert [len(epoch) for epoch in counted.rates] == steps
    length = changes.get("num_train_epochs", 3)
    expected = [(1 + math.cos(math.pi * epoch / length)) / 2 for epoch in range(len(steps))]
    for rates, rate in zip(counted.rates, expected, strict=True):
        assert rates == pytest.approx([rate] * len(rates))


def test_step_and_exponential_epoch_follow_their_options() -> None:
    step = epoch_factor("step_epoch", 10, {"milestones": [5], "gamma": 0.1})
    assert [step(epoch) for epoch in (0, 4, 5, 9)] == pytest.approx([1, 1, 0.1, 0.1])
    assert epoch_factor("exponential_epoch", 10, {"gamma": 0.97})(3) == pytest.approx(0.97**3)


def test_epoch_schedule_refuses_unknown_options() -> None:
    with pytest.raises(ValueError, match="does not take power"):
        epoch_factor("step_epoch", 10, {"power": 2})


@pytest.mark.parametrize(
    ("vendor", "flags", "precision"),
    [
        ("GenuineIntel", {"avx2"}, "fp32"),
        ("GenuineIntel", {"avx512f"}, "fp32"),
        ("GenuineIntel", {"avx512_bf16", "amx_bf16"}, "bf16"),
        # Half the rate of float32: a virtual machine that hides AMX must not train slower for it.
        ("GenuineIntel", {"avx512_bf16"}, "fp32"),
        ("AuthenticAMD", {"avx512_bf16"}, "bf16"),
        ("AuthenticAMD", {"avx2"}, "fp32"),
        ("", set(), "fp32"),
    ],
)
def test_hardware_chooses_bf16_only_where_the_cpu_is_faster_in_it(
    vendor: str, flags: set[str], precision: str
) -> None:
    found = detect_hardware(use_cpu=True, processor=Processor(vendor, frozenset(flags)))
    assert found.precision == precision
    assert found.reason.startswith("the CPU has")


def test_processor_is_read_from_the_kernels_file(tmp_path: Path) -> None:
    core = "vendor_id\t: GenuineIntel\nmodel name\t: X\nflags\t\t: fpu amx_bf16 avx2\nvmx flags\t: vnmi\n\n"
    (tmp_path / "cpuinfo").write_text(2 * core)
    expected = Processor("GenuineIntel", frozenset({"fpu", "amx_bf16", "avx2"}))
    assert this_processor(tmp_path / "cpuinfo") == expected
    assert this_processor(tmp_path / "absent") == Processor()


def test_metric_counts_recovered_and_memorised_labels() -> None:
    logits = np.eye(3)[[0, 1, 2, 1]]
    given, clean = np.array([0, 1, 0, 1]), np.array([0, 1, 2, 2])
    figures = classification_metrics(logits, given, clean)
    assert figures == {"accuracy": 0.75, "clean_accuracy": 0.75, "memorized_rate": 0.5}


def test_metric_top5_counts_the_label_among_the_five_largest() -> None:
    logits = np.tile(np.arange(8.0), (3, 1))
    figures = classification_metrics(logits, np.array([7, 3, 2]))
    assert figures["accuracy"] == pytest.approx(1 / 3)
    assert figures["top5_accuracy"] == pytest.approx(2 / 3)


def test_metric_skips_ignored_rows_and_refuses_none_left() -> None:
    assert classification_metrics(np.eye(2), np.array([0, -100]))["accuracy"] == 1.0
    with pytest.raises(ValueError, match="no labelled row"):
        classification_metrics(np.eye(2), np.array([-100, -100]))


def test_metric_is_an_evaluate_metric_that_needs_no_network() -> None:
    metric = ImageClassificationMetric()
    assert metric.compute(predictions=np.eye(3), references=[0, 1, 0]) == {"accuracy": pytest.approx(2 / 3)}
    metric.add_batch(predictions=[[0.0, 1.0]], references=[1])
    metric.add_batch(predictions=[[0.0, 1.0]], references=[0])
    assert metric.compute()["accuracy"] == 0.5


def test_logits_are_found_in_every_form_of_output() -> None:
    logits = torch.zeros(2, 3)
    for outputs in (logits, {"logits": logits}, (logits,), (torch.zeros(()), logits), [None, logits]):
        assert logits_of(outputs) is logits
    with pytest.raises(ValueError, match=r"a tuple in which there are no logits"):
        logits_of((torch.zeros(()), None))
    with pytest.raises(ValueError, match="no 'logits'"):
        logits_of({"scores": logits})


def test_token_logits_get_their_class_axis_second() -> None:
    assert classes_second(torch.zeros(2, 5, 3), torch.zeros(2, 5, dtype=torch.long)).shape == (2, 3, 5)
    assert classes_second(torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.long)).shape == (
        2,
        3,
        4,
        4,
    )


def test_confidence_histogram_claims_no_clean_labels_that_nobody_knows() -> None:
    histogram = confidence_histogram([0.95, 0.1, 0.98], None, bins=10)
    assert sum(histogram["given"]) == 3
    assert not {"clean", "wrong"} & set(histogram)


def test_lost_class_is_named_with_the_class_that_swallowed_it() -> None:
    given = np.array([0] * 20 + [1] * 20 + [2] * 20)
    predicted = np.array([0] * 20 + [2] * 19 + [1] + [2] * 20)
    assert lost_classes(predicted, given, 4) == [{"class": 1, "given": 20, "predicted": 1, "mostly": 2}]
    given, predicted = np.append(given, -100), np.append(predicted, 3)
    figures = training_set_figures(np.eye(4)[predicted], given, None, ["ant", "bee", "cat", "dog"])
    assert figures["lost_classes"][0]["class"] == 1
    assert figures["warnings"][0] == (
        "Class bee is lost: given to 20 training rows, predicted on 1 of all, mostly taken for class cat."
    )


def test_network_that_has_learned_nothing_is_told_so() -> None:
    random = np.random.default_rng(0)
    given, guessed = random.integers(0, 4, 960), random.integers(0, 4, 960)
    names = ["ant", "bee", "cat", "dog"]
    (warning,) = training_set_figures(np.eye(4)[guessed], given, None, names)["warnings"]
    assert "learned nothing" in warning
    assert "960" in warning
    assert "jal-hf finetune" in warning
    constant = np.zeros(960, dtype=int)
    uneven = np.where(random.random(960) < 0.9, 0, 1)
    assert has_learned_nothing(constant, given, 4)
    assert has_learned_nothing(constant, uneven, 4)


def test_network_that_knows_what_noisy_labels_can_teach_is_not_said_to_have_learned_nothing() -> None:
    random = np.random.default_rng(0)
    for rate, classes, rows in ((0.35, 2, 200), (0.8, 10, 2000), (0.1, 2, 60)):
        clean = random.integers(0, classes, rows)
        given = np.where(
            random.random(rows) < rate, (clean + random.integers(1, classes, rows)) % classes, clean
        )
        assert not has_learned_nothing(clean, given, classes)
    one, few = np.zeros(100, dtype=int), np.zeros(10, dtype=int)
    assert not has_learned_nothing(one, one, 3)
    assert not has_learned_nothing(few, 1 - few, 2)


@pytest.mark.parametrize("label", [0, 1])
def test_no_class_is_lost_while_each_is_predicted_a_tenth_as_often_as_given(label: int) -> None:
    given = np.repeat([0, 1], 20)
    predicted = np.full(40, 1 - label)
    predicted[:2] = label
    assert lost_classes(predicted, given, 3) == []


def test_folder_refuses_a_finished_run_and_takes_it_with_overwrite(tmp_path: Path) -> None:
    RunRecord(loss={"name": "ce"}, model={"name": "net"}).write(tmp_path)
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="--overwrite"):
        find_start(tmp_path, overwrite=False, resume=None)
    assert find_start(tmp_path, overwrite=True, resume=None) is None
    assert (tmp_path / "run.json").exists()
    clear_the_way(tmp_path, overwrite=True, resume=None)
    assert not (tmp_path / "run.json").exists()
    assert (tmp_path / ".replaced" / "run.json").exists()
    assert (tmp_path / "keep.txt").exists()


def test_folder_refuses_an_unfinished_run_and_resumes_its_last_whole_checkpoint_when_asked(
    tmp_path: Path,
) -> None:
    for name in ("checkpoint-5", "checkpoint-12", "checkpoint-20"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trainer_state.json").write_text("{}")
        mark_complete(tmp_path / name)
    (tmp_path / "checkpoint-20" / "trainer_state.json").write_text('{"cut')
    with pytest.raises(FileExistsError, match="--resume auto"):
        find_start(tmp_path, overwrite=False, resume=None)
    assert find_start(tmp_path, overwrite=False, resume="auto") == str(tmp_path / "checkpoint-12")
    with pytest.raises(FileNotFoundError, match="checkpoint-7"):
        find_start(tmp_path, overwrite=False, resume=str(tmp_path / "checkpoint-7"))
    # Whoever calls it from Python knows no flag.
    with pytest.raises(
        ValueError, match=r"is a run's folder, not a checkpoint.*checkpoint-12.*resume='auto'"
    ):
        find_start(tmp_path, overwrite=False, resume=str(tmp_path))


def test_folder_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file"):
        check_place(tmp_path / "out")


def test_log_file_drops_steps_after_the_checkpoint_and_cut_lines(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step, "loss": 1.0}) for step in (1, 2, 3, 4)]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + '\n{"step": 5, "lo')
    args = TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True)
    state = TrainerState(global_step=2, is_world_process_zero=True)
    callback = LogFileCallback()
    callback.on_train_begin(args, state, TrainerControl())
    state.global_step = 3
    callback.on_log(args, state, TrainerControl(), {"loss": math.nan})
    read = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in read] == [1, 2, 3]
    assert read[-1]["loss"] is None


def test_log_file_tells_the_seconds_and_a_resumed_run_counts_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 100.0, 107.0, 1000.0, 5000.0, 5002.5])
    monkeypatch.setattr("jal_hf.training.callbacks.time.perf_counter", lambda: next(clock))
    args = TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True)
    state = TrainerState(global_step=0, is_world_process_zero=True)
    first = LogFileCallback()  # 0
    first.on_train_begin(args, state, TrainerControl())  # 100
    state.global_step = 1
    first.on_log(args, state, TrainerControl(), {"loss": 1.0})  # 107
    resumed = LogFileCallback()  # 1000
    resumed.on_train_begin(args, state, TrainerControl())  # 5000
    state.global_step = 2
    resumed.on_log(args, state, TrainerControl(), {"loss": 0.5})  # 5002.5
    assert [line["seconds"] for line in read_log(tmp_path)] == [7.0, 9.5]


def test_throughput_leaves_out_evaluation_and_warmup(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 5.0, 6.0, 100.0, 101.0])
    monkeypatch.setattr("jal_hf.training.callbacks.time.perf_counter", lambda: next(clock))
    callback = ThroughputCallback(warmup_steps=1)
    callback.on_train_begin()  # 0
    callback.on_step_end()  # 5: warm-up
    callback.on_step_end()  # 6: one second
    callback.on_evaluate()  # 100
    callback.on_step_end()  # 101: one second
    assert callback.seconds == pytest.approx(2.0)
    assert callback.images_per_second(32) == pytest.approx(32.0)


def test_record_names_last_and_best_epoch() -> None:
    log = [
        {"step": 1, "epoch": 1.0, "eval_accuracy": 0.9, "eval_loss": 1.0},
        {"step": 2, "epoch": 2.0, "eval_accuracy": 0.7, "eval_loss": 2.0},
    ]
    figures = evaluation_figures(log)
    assert figures["last"] is not None
    assert figures["last"]["accuracy"] == 0.7
    assert figures["best"] == {"accuracy": 0.9, "epoch": 1.0}
    assert evaluation_figures([{"step": 1, "loss": 1.0}]) == {"last": None, "best": None}


def test_record_tells_the_figures_of_the_weights_that_were_saved() -> None:
    log = [
        {"step": 1, "epoch": 1.0, "eval_accuracy": 0.9, "eval_loss": 1.0},
        {"step": 1, "epoch": 1.0, "validation_accuracy": 0.5},
        {"step": 2, "epoch": 2.0, "eval_accuracy": 0.7, "eval_loss": 2.0},
    ]
    assert saved_figures(log, 1, "eval_loss") == {
        "accuracy": 0.9, "top5_accuracy": None, "loss": 1.0, "epoch": 1.0, "validation_accuracy": 0.5,
        "chosen_by": "loss",
    }  # fmt: skip
    assert saved_figures(log, 3, "loss") is None


def test_validation_alone_gives_figures_and_no_best() -> None:
    figures = evaluation_figures([{"step": 1, "epoch": 1.0, "validation_accuracy": 0.6}])
    assert figures == {"last": {"validation_accuracy": 0.6, "epoch": 1.0}, "best": None}


def test_record_is_written_whole_and_read_back(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no finished run"):
        RunRecord.read(tmp_path)
    record = RunRecord.new(seed=3, loss={"name": "ce"}, model={"name": "net"})
    record.write(tmp_path)
    assert RunRecord.read(tmp_path) == record
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    with pytest.raises(ValueError, match="Out of range"):
        record.replace(training={"seconds": math.nan}).write(tmp_path)
    assert RunRecord.read(tmp_path) == record


@pytest.mark.parametrize(("classes", "lines"), [(100, 100 * 100), (101, 0)])
def test_record_of_many_classes_has_a_line_for_a_row_of_a_matrix(
    classes: int, lines: int, tmp_path: Path
) -> None:
    matrix = np.eye(classes).tolist()
    noise = {"kind": "matrix", "transition_matrix": None, "realised_matrix": matrix, "rows": 7}
    record = RunRecord.new(loss={"name": "ce"}, model={"name": "net"}, noise=noise)
    text = record.write(tmp_path).read_text()
    assert RunRecord.read(tmp_path).noise == noise
    assert record.noise["realised_matrix"] is matrix
    assert text.count("\n    0.0") + text.count("\n    1.0") == lines
    assert text.splitlines().count(f"   {json.dumps(matrix[-1])}") == (0 if lines else 1)
    indented = json.dumps(record.to_dict(), indent=1, ensure_ascii=False) + "\n"
    assert (text == indented) is bool(lines)


@pytest.mark.parametrize("content", ["{}", "[]", '{"loss": 3, "model": {}}', "{", "[" * 100_000])
def test_what_is_no_record_is_refused_in_a_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match="cannot be used"):
        RunRecord.read(tmp_path)
