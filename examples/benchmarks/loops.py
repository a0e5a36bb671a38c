"""The training loops that throughput.py times, each as an endless iterator of optimizer steps."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from clock import Clock, Spent
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from transformers import TrainerCallback

from jal_hf.data import collate_images
from jal_hf.runs.config import RunConfig
from jal_hf.runs.parts import build_trainer
from jal_hf.training.captured.planned_images import PlannedImages
from jal_hf.training.captured.step import WARMUP_STEPS
from jal_hf.training.host_memory import keep_freed_memory
from jal_hf.training.loaders import collate_batch, end_workers
from jal_hf.training.penalty import add_l1_gradient, l1_penalty

MOMENTUM = 0.9


class PlainImages(Dataset):  # type: ignore[type-arg]
    """One image at a time through PIL, as torchvision's own CIFAR dataset does it."""

    def __init__(self, pixels: np.ndarray, labels: list[int], mean: Any, std: Any, augment: str) -> None:
        self.pixels, self.labels = pixels, labels
        side = pixels.shape[1]
        steps: list[Any] = []
        if augment.startswith("crop-flip"):
            steps = [transforms.RandomCrop(side, padding=side // 8), transforms.RandomHorizontalFlip()]
        if augment.endswith("rotate"):
            steps.append(transforms.RandomRotation(20))
        self.transform = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(mean, std)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels = self.pixels[index]
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        return self.transform(image), self.labels[index]


def plain_jal(logits: Tensor, target: Tensor, alpha: float, beta: float, a: float) -> Tensor:
    """JAL-CE as one would write it from the paper: alpha NCE + beta AMSE, one-hot labels, float32."""
    log_probabilities = F.log_softmax(logits, dim=1)
    one_hot = F.one_hot(target, logits.shape[1]).float()
    nce = (one_hot * log_probabilities).sum(1) / log_probabilities.sum(1)
    amse = ((a * one_hot - log_probabilities.exp()) ** 2).mean(1)
    return alpha * nce.mean() + beta * amse.mean()


def plain_loop(settings: RunConfig, data: Any, workers: int) -> Generator[None, None, None]:
    """The protocol written down directly: DataLoader workers, PIL, float32, a host sync each step for the meter."""
    trainer = build_trainer(settings, data)
    args = trainer.args
    source, model = trainer.train_dataset, trainer.model.to(memory_format=torch.contiguous_format)
    images = PlainImages(
        source.images.cpu().numpy(),
        source.columns["labels"].tolist(),
        settings.data.image_mean,
        settings.data.image_std,
        settings.data.augment,
    )
    loader = DataLoader(
        images,
        batch_size=args.train_batch_size,
        shuffle=True,
        num_workers=workers,
        pin_memory=args.device.type == "cuda",
        persistent_workers=workers > 0,
        drop_last=True,
    )
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(
        parameters, lr=args.learning_rate, momentum=MOMENTUM, weight_decay=args.weight_decay
    )
    model.train()
    total = 0.0
    try:
        while True:
            for pixels, labels in loader:
                pixels, labels = pixels.to(args.device), labels.to(args.device)
                optimizer.zero_grad()
                loss = plain_jal(model(pixels).logits, labels, **args.loss_args)
                if args.l1_weight_decay:
                    loss = loss + args.l1_weight_decay * sum(
                        parameter.abs().sum() for parameter in parameters
                    )
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, args.max_grad_norm)
                optimizer.step()
                total += loss.item()
                yield
    finally:
        end_workers(loader)  # torch would wait 5 seconds for each when the process ends


def bare_loop(settings: RunConfig, data: Any) -> Iterator[None]:
    """This package's data, network, loss, precision and layout, without the Trainer around them."""
    trainer = build_trainer(settings, data)
    args = trainer.args
    source, model, criterion = trainer.train_dataset, trainer.model, trainer.criterion
    loader = DataLoader(
        source, batch_size=args.train_batch_size, shuffle=True, collate_fn=collate_images, drop_last=True
    )
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(
        parameters, lr=args.learning_rate, momentum=MOMENTUM, weight_decay=args.weight_decay
    )
    if args.keep_freed_memory and args.device.type == "cpu":
        keep_freed_memory()
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(args.precision_name)
    model.train()
    while True:
        for batch in loader:
            pixels, labels = batch["pixel_values"].to(args.device), batch["labels"].to(args.device)
            if args.channels_last:
                pixels = pixels.contiguous(memory_format=torch.channels_last)
            with torch.autocast(args.device.type, dtype) if dtype else nullcontext():
                loss = criterion(model(pixels).logits, labels)
                if args.l1_weight_decay:
                    loss = loss + args.l1_weight_decay * l1_penalty(model)
            loss.backward()
            if args.l1_weight_decay:
                add_l1_gradient(parameters, args.l1_weight_decay)
            nn.utils.clip_grad_norm_(parameters, args.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            yield


def captured_loop(settings: RunConfig, data: Any) -> Iterator[None]:
    """The bare loop's step, batch preparation in it, as one CUDA graph; as it stands on a CPU."""
    trainer = build_trainer(settings, data)
    args, model, criterion = trainer.args, trainer.model, trainer.criterion
    images = PlannedImages(trainer.train_dataset)
    loader = DataLoader(
        images, batch_size=args.train_batch_size, shuffle=True, collate_fn=collate_batch, drop_last=True
    )
    first = next(iter(loader))
    names = ("positions", "draws")
    static = {name: torch.from_numpy(first[name]).to(args.device) for name in names}
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(
        parameters, lr=args.learning_rate, momentum=MOMENTUM, weight_decay=args.weight_decay, fused=True
    )
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(args.precision_name)
    model.train()

    def step() -> None:
        optimizer.zero_grad()
        batch = images.images.batch(static["positions"], static["draws"])
        pixels = batch["pixel_values"]
        if args.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.autocast(args.device.type, dtype) if dtype else nullcontext():
            loss = criterion(model(pixels).logits, batch["labels"])
        loss.backward()
        if args.l1_weight_decay:
            add_l1_gradient(parameters, args.l1_weight_decay)
        nn.utils.clip_grad_norm_(parameters, args.max_grad_norm)
        optimizer.step()

    for _ in range(WARMUP_STEPS):
        step()
    replay = step
    if args.device.type == "cuda":
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        replay = graph.replay
    while True:
        for plan in loader:
            for name in names:
                value = torch.from_numpy(plan[name])
                static[name].copy_(value.pin_memory() if static[name].is_cuda else value, non_blocking=True)
            replay()
            yield


class StepClock(TrainerCallback):
    """What is spent from the end of one step of the Trainer to the end of another."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.clock = Clock()
        self.spent = Spent(0.0, 0.0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the time where it counts."""
        if state.global_step == self.first:
            self.clock.start()
        if state.global_step == self.last:
            self.spent = self.clock.stop()
