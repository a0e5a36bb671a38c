"""Small trainings, run by one process in the test itself and by two gloo processes through `python -m`."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset
from transformers import TrainerCallback, set_seed

from jal_hf import JALTrainer, JALTrainingArguments, create_loss, load_noisy_dataset
from jal_hf.data import make_image_dataset
from jal_hf.training.checkpoints import is_complete
from jal_hf.training.epochs import set_epoch_everywhere
from jal_hf.training.failures import NonFiniteLossError

GLOBAL_BATCH, STEPS, CLASSES, ROWS, EVAL_ROWS = 8, 20, 5, 42, 37
IGNORED = (3, 4, 5, 6, 21)
DTYPES = {"float32": torch.float32, "float64": torch.float64}
SPLITS = [(dtype, accumulation) for dtype in DTYPES for accumulation in (1, 4)]


class Points(Dataset):  # type: ignore[type-arg]
    """Seeded points with labels, some ignored; 42 rows leave one process of two without a real row at the end."""

    def __init__(self, rows: int, dtype: torch.dtype, ignored: tuple[int, ...] = ()) -> None:
        generator = torch.Generator().manual_seed(7)
        self.pixels = torch.randn(rows, 3, 6, 6, generator=generator, dtype=torch.float64).to(dtype)
        self.labels = torch.randint(0, CLASSES, (rows,), generator=generator)
        self.labels[list(ignored)] = -100

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {"pixel_values": self.pixels[row], "labels": self.labels[row], "index": torch.tensor(row)}


class Network(nn.Module):
    """Without batch norm, whose statistics belong to a process and would hide what is compared."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 12), nn.ReLU(), nn.Linear(12, CLASSES)
        )

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.layers(pixel_values)


class WithBatchNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(108), nn.Linear(108, CLASSES))

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.layers(pixel_values)


def make_trainer(
    folder: Path,
    processes: int,
    accumulation: int,
    dtype: torch.dtype,
    model: nn.Module | None = None,
    **changes: Any,
) -> JALTrainer:
    set_seed(0)
    model = (Network() if model is None else model).to(dtype)
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "optim": "sgd",
        "optim_args": "momentum=0.9",
        "learning_rate": 0.05,
        "lr_scheduler_type": "constant",
        "l1_weight_decay": 1e-4,
        "max_grad_norm": 1.0,
        "max_steps": STEPS,
        "per_device_train_batch_size": GLOBAL_BATCH // processes,
        "per_device_eval_batch_size": 4,
        "gradient_accumulation_steps": accumulation,
        "save_strategy": "no",
        "logging_steps": 5,
        "disable_tqdm": True,
        "precision": "fp32",
        "use_cpu": True,
        "channels_last": False,
        "seed": 0,
    }
    return JALTrainer(
        model=model,
        args=JALTrainingArguments(**{**settings, **changes}),
        train_dataset=Points(ROWS, dtype, IGNORED),
        eval_dataset=Points(EVAL_ROWS, dtype, (0, 36)),
        loss=create_loss("jal-ce", alpha=1.0, beta=1.0, a=30.0),
    )


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    """Whole parameters, gathered where they are sharded."""
    whole = {}
    for name, parameter in model.named_parameters():
        tensor = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
        whole[name.removeprefix("module.")] = tensor.detach().clone().contiguous()
    return whole


def train(
    folder: Path, processes: int, dtype: str, accumulation: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    trainer = make_trainer(folder, processes, accumulation, DTYPES[dtype])
    trainer.train()
    return parameters_of(trainer.model), evaluation(trainer)


def evaluation(trainer: JALTrainer) -> dict[str, Any]:
    metrics = {name: trainer.evaluate()[name] for name in ("eval_loss", "eval_accuracy")}
    predictions = trainer.predict(trainer.eval_dataset).predictions
    return {**metrics, "predictions": len(predictions), "sum": float(predictions.sum())}


def train_sharded(folder: Path, dtype: str, accumulation: int) -> dict[str, Tensor]:
    """The trainer's own step, around a model that torch's `fully_shard` has split over the processes."""
    from torch.distributed.fsdp import fully_shard

    trainer = make_trainer(folder, 2, accumulation, DTYPES[dtype])
    model = trainer.model
    for layer in model.layers:
        if any(True for _ in layer.parameters()):
            fully_shard(layer)
    fully_shard(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loader = trainer.get_train_dataloader()
    epoch = done = 0
    while done < STEPS:
        set_epoch_everywhere(loader, epoch)
        batches = iter(loader)
        for start in range(0, len(loader), accumulation):
            count = min(accumulation, len(loader) - start)
            parts, normaliser = trainer.get_batch_samples(batches, count, torch.device("cpu"))
            for number, part in enumerate(parts):
                last = number == len(parts) - 1
                trainer.accelerator.gradient_state._set_sync_gradients(last)
                model.set_requires_gradient_sync(last)
                trainer.training_step(model, part, normaliser)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            done += 1
            if done == STEPS:
                break
        epoch += 1
    return parameters_of(model)


# Evaluations that leave no logits behind, from which the mean loss could be computed again.
WITHOUT_LOGITS: dict[str, dict[str, Any]] = {
    "loss alone": {"prediction_loss_only": True},
    "metrics by batch": {"batch_eval_metrics": True},
    "processed": {},
}


def losses_without_logits(folder: Path, processes: int) -> dict[str, float]:
    """The evaluation loss of the untrained network where no logits are kept, two of the labels being ignored."""
    found = {}
    for name, changes in WITHOUT_LOGITS.items():
        trainer = make_trainer(folder, processes, 1, torch.float32)
        for argument, value in changes.items():
            setattr(trainer.args, argument, value)
        trainer.compute_metrics = lambda prediction, compute_result=True: {}
        if name == "processed":
            trainer.preprocess_logits_for_metrics = lambda logits, labels: logits.argmax(dim=1)
        found[name] = trainer.evaluate()["eval_loss"]
    return found


class _Counter(JALTrainer):
    """Notes how many labels each step divides by."""

    def get_batch_samples(self, *args: Any) -> Any:
        batches, count = super().get_batch_samples(*args)
        if batches:
            self.counts.append(int(count))
        return batches, count


class Flow(IterableDataset):  # type: ignore[type-arg]
    """Points as a stream."""

    def __init__(self, rows: int) -> None:
        self.points = Points(rows, torch.float32)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return (self.points[row] for row in range(len(self.points)))


def scored_stream(folder: Path, processes: int) -> list[Any]:
    """Rows of a stream that are scored, and what is said where each process reads it by itself."""
    found: list[Any] = [
        len(make_trainer(folder, processes, 1, torch.float32).predict(Flow(EVAL_ROWS)).predictions)
    ]
    apart = {"accelerator_config": {"dispatch_batches": False}}
    trainer = make_trainer(folder, processes, 1, torch.float32, **apart)
    for again in (lambda: trainer.evaluate({"a": Flow(3)}), lambda: trainer.predict(Flow(3))):
        try:
            again()
        except ValueError as error:
            found.append(str(error))
    return found


# What leaves the last rows of an epoch out: the loader's setting, and batch norm of one row.
LEAVING_OUT = {
    "drop_last": (ROWS, Network, {"dataloader_drop_last": True}),
    "one-row": (41, WithBatchNorm, {}),
    "not-one-row": (45, WithBatchNorm, {}),
    "accumulated": (42, Network, {"dataloader_drop_last": True, "gradient_accumulation_steps": 2}),
    "dispatched": (45, Network, {"accelerator_config": {"dispatch_batches": True}}),
}


def counted_labels(folder: Path, processes: int, name: str) -> list[int]:
    """Labels counted in each step of an epoch, none of which is ignored."""
    rows, network, changes = LEAVING_OUT[name]
    changes = {"max_steps": -1, "num_train_epochs": 1, **changes}
    args = make_trainer(folder, processes, 1, torch.float32, **changes).args
    trainer = _Counter(model=network(), args=args, train_dataset=Points(rows, torch.float32), loss="ce")
    trainer.counts = []
    trainer.train()
    return trainer.counts


class _Recorder(JALTrainer):
    """Notes which image each step sees, how it is augmented and labelled."""

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if model.training:
            counted = inputs["labels"] != -100
            for row, label, pixels, real in zip(
                inputs["index"], inputs["labels"], inputs["pixel_values"], counted, strict=True
            ):
                if real:
                    weights = torch.arange(pixels.numel()).reshape(pixels.shape)
                    self.seen.append(
                        [self.state.global_step, int(row), int(label), float((pixels * weights).sum())]
                    )
        return super().compute_loss(model, inputs, *args, **kwargs)


def seen_rows(folder: Path, processes: int, resume_at: int | None = None) -> list[list[float]]:
    """[step, row, label, digest of the augmented pixels] of each image trained on, sorted, over all processes."""
    from accelerate.utils import gather_object

    data = load_noisy_dataset("digits", noise="symmetric:0.4", max_train_samples=50, val_fraction=0.1)
    images = make_image_dataset(
        data["train"],
        image_column=data.image_column,
        label_column=data.label_column,
        image_size=8,
        in_chans=1,
        mean=[0.3],
        std=[0.4],
        augment="crop-flip",
        train=True,
        seed=0,
    )
    set_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    changes: dict[str, Any] = {} if resume_at is None else {"save_strategy": "steps", "save_steps": resume_at}
    args = make_trainer(folder, processes, 1, torch.float32, max_steps=14, **changes).args
    trainer = _Recorder(model=model, args=args, train_dataset=images, loss="jal-ce")
    trainer.seen = []
    trainer.train()
    if resume_at is not None:
        set_seed(0)
        trainer = _Recorder(
            model=nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
            args=args,
            train_dataset=images,
            loss="jal-ce",
        )
        trainer.seen = []
        trainer.train(resume_from_checkpoint=str(folder / f"checkpoint-{resume_at}"))
    return sorted(gather_object(trainer.seen))


# Of 1 to 9 words each.
SENTENCES = [
    {"input_ids": [row] * (1 + row * 7 % 9), "labels": row % CLASSES, "index": row} for row in range(ROWS)
]


class BagOfWords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(ROWS, CLASSES)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.words(input_ids)


def padded(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    longest = max(len(row["input_ids"]) for row in rows)
    tokens = [row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in rows]
    return {
        "input_ids": torch.tensor(tokens),
        "labels": torch.tensor([row["labels"] for row in rows]),
        "index": torch.tensor([row["index"] for row in rows]),
    }


class _RowsOfSteps(JALTrainer):
    """Notes which rows each step counts."""

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        rows = inputs["index"][inputs["labels"] != -100]
        self.seen += [[self.state.global_step, int(row)] for row in rows]
        return super().compute_loss(model, inputs, *args, **kwargs)


def grouped_rows(folder: Path, processes: int, resume_at: int | None = None) -> list[list[int]]:
    """[step, row] of each row that is trained on in two epochs of rows grouped by length, over all processes."""
    from accelerate.utils import gather_object

    changes = {"max_steps": 12, "train_sampling_strategy": "group_by_length", "save_strategy": "steps"}
    args = make_trainer(folder, processes, 1, torch.float32, save_steps=4, **changes).args

    def made() -> _RowsOfSteps:
        set_seed(0)
        found = _RowsOfSteps(
            model=BagOfWords(), args=args, train_dataset=SENTENCES, loss="ce", data_collator=padded
        )
        found.seen = []
        return found

    trainer = made()
    trainer.train()
    if resume_at is not None:
        trainer = made()
        trainer.train(resume_from_checkpoint=str(folder / f"checkpoint-{resume_at}"))
    return sorted(gather_object(trainer.seen))


class SignalAt(TrainerCallback):
    """Sends this process a signal at the end of a step."""

    def __init__(self, number: int, step: int) -> None:
        self.number, self.step = number, step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            os.kill(os.getpid(), self.number)


def stopped_and_resumed(folder: Path, rank: int) -> dict[str, Any]:
    """SIGTERM reaches one of two processes; both stop after the same step and go on from the checkpoint."""
    changes = {"eval_strategy": "epoch", "save_strategy": "epoch"}
    trainer = make_trainer(folder, 2, 1, torch.float64, **changes)
    if rank == 1:
        trainer.add_callback(SignalAt(signal.SIGTERM, 8))
    trainer.train()
    stopped_by, step = trainer.stop_signals.stopped_by, trainer.state.global_step
    checkpoint = folder / f"checkpoint-{step}"
    whole = is_complete(checkpoint)
    resumed = make_trainer(folder, 2, 1, torch.float64, **changes)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    uninterrupted = make_trainer(folder / "whole", 2, 1, torch.float64, **changes)
    uninterrupted.train()
    left, right = parameters_of(resumed.model), parameters_of(uninterrupted.model)
    equal = all(torch.equal(left[name], right[name]) for name in left)
    return {
        "stopped_by": stopped_by,
        "step": step,
        "whole": whole,
        "equal": equal,
        "end": resumed.state.global_step,
    }


def non_finite(folder: Path) -> str:
    """A NaN among the rows of the second process; what the trainer says."""
    trainer = make_trainer(folder, 2, 1, torch.float32, Network(), save_strategy="steps", save_steps=2)
    trainer.train_dataset.pixels[30] = float("nan")
    try:
        trainer.train()
    except NonFiniteLossError as error:
        return str(error)
    return ""


def run_all(folder: Path) -> None:
    """All scenarios on this process, one of two; the first one writes what came out."""
    results: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    for dtype, accumulation in SPLITS:
        name = f"{dtype}-{accumulation}"
        weights, results[name] = train(folder / name, 2, dtype, accumulation)
        tensors |= {f"ddp-{name}/{key}": value for key, value in weights.items()}
        sharded = train_sharded(folder / f"sharded-{name}", dtype, accumulation)
        tensors |= {f"fsdp-{name}/{key}": value for key, value in sharded.items()}
    results["seen"] = seen_rows(folder / "seen", 2)
    results["seen-resumed"] = seen_rows(folder / "resumed", 2, resume_at=4)
    results["grouped"] = grouped_rows(folder / "grouped", 2)
    results["signal"] = stopped_and_resumed(folder / "signal", int(os.environ["RANK"]))
    results["non-finite"] = non_finite(folder / "nan")
    results["without logits"] = losses_without_logits(folder / "without-logits", 2)
    results["stream"] = scored_stream(folder / "stream", 2)
    results["counted"] = {name: counted_labels(folder / name, 2, name) for name in LEAVING_OUT}
    trainer = make_trainer(folder / "bn", 2, 1, torch.float32, WithBatchNorm())
    trainer.train()
    results["batch-norm"] = evaluation(trainer)
    if trainer.is_world_process_zero():
        state = {f"bn/{key}": value.contiguous() for key, value in trainer.model.state_dict().items()}
        save_file({**tensors, **state}, folder / "tensors.safetensors")
        (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    run_all(Path(sys.argv[1]))
