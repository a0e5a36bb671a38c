"""Trainings with a method, run by one process in the test itself and by two gloo processes through `python -m`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import set_seed

from jal_hf import JALTrainingArguments, create_loss
from jal_hf.training import RobustTrainer
from jal_hf.training.methods import create_method
from tests.distributed.scenarios import GLOBAL_BATCH, IGNORED, ROWS, Network, Points, WithBatchNorm

METHODS = ("elr", "refurbish+gate+twin", "ema+warmup+elr+mixup")
STEPS = 8


def trained(folder: Path, processes: int, method: str) -> tuple[RobustTrainer, dict[str, Tensor]]:
    """Weights and the method's state after some steps in float64; 42 rows leave a short last batch."""
    set_seed(0)
    trainer = RobustTrainer(
        model=Network().double(),
        args=JALTrainingArguments(
            output_dir=str(folder), optim="sgd", learning_rate=0.05, lr_scheduler_type="constant", max_steps=STEPS,
            per_device_train_batch_size=GLOBAL_BATCH // processes, per_device_eval_batch_size=4, save_strategy="no",
            disable_tqdm=True, precision="fp32", use_cpu=True, channels_last=False, seed=0,
        ),
        train_dataset=Points(ROWS, torch.float64, IGNORED),
        loss=create_loss("jal-ce", alpha=1.0, beta=1.0, a=30.0),
        method=create_method(method),
    )  # fmt: skip
    trainer.train()
    weights = {
        name.removeprefix("module."): value.detach().clone()
        for name, value in trainer.model.named_parameters()
    }
    return trainer, {
        **{f"weights/{name}": value for name, value in weights.items()},
        **{f"state/{name}": value.clone() for name, value in trainer.method.state_dict().items()},
    }


def averaged_predictions(folder: Path) -> tuple[Tensor, Tensor]:
    """(predictions of both processes with averaged weights, what the exported network of this one gives), (8, K)."""
    set_seed(0)
    args = JALTrainingArguments(
        output_dir=str(folder), max_steps=4, per_device_train_batch_size=4, save_strategy="no", disable_tqdm=True,
        use_cpu=True, precision="fp32", channels_last=False, seed=0,
    )  # fmt: skip
    trainer = RobustTrainer(
        model=WithBatchNorm(), args=args, train_dataset=Points(ROWS, torch.float32), loss="ce", method="ema"
    )
    trainer.train()
    predicted = torch.as_tensor(trainer.predict(Points(8, torch.float32)).predictions)
    with torch.no_grad():
        logits = trainer.accelerator.unwrap_model(trainer.model).eval()(Points(8, torch.float32).pixels)
    return predicted, logits


def run_all(folder: Path) -> None:
    tensors: dict[str, Tensor] = {}
    for method in METHODS:
        trainer, found = trained(folder / method, 2, method)
        tensors |= {f"{method}/{name}": value.contiguous() for name, value in found.items()}
    tensors["predicted"], tensors["exported"] = averaged_predictions(folder / "ema")
    if trainer.is_world_process_zero():
        save_file(tensors, folder / "tensors.safetensors")


if __name__ == "__main__":
    run_all(Path(sys.argv[1]))
