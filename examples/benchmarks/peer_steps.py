"""Runs the main.py of a checkout of the JAL authors' code as it is and times its optimizer steps.

throughput.py starts this in a process of its own, in a copy of the checkout. What is lent to that code from outside:
the images (from an .npz file, in the place of torchvision's download), and, on a machine without CUDA, the CPU
wherever it asks for the device 'cuda'. Nothing of it is changed.

python peer_steps.py MAIN.PY IMAGES.NPZ WARMUP STEPS [ARGUMENTS OF MAIN.PY]
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from clock import Clock


def lend_images(path: str) -> None:
    """Give torchvision's CIFAR10 the images and labels of a file, whatever root it is asked for."""
    content = np.load(path)

    class LentImages(torchvision.datasets.CIFAR10):  # type: ignore[misc]
        def __init__(
            self,
            root: str = "",
            train: bool = True,
            transform: Any = None,
            target_transform: Any = None,
            download: bool = False,
        ) -> None:
            torchvision.datasets.VisionDataset.__init__(
                self, root, transform=transform, target_transform=target_transform
            )
            part = "train" if train else "test"
            self.train, self.data = train, content[f"{part}_images"]
            self.targets = content[f"{part}_labels"].tolist()
            self.classes = [str(label) for label in range(10)]
            self.class_to_idx = {name: label for label, name in enumerate(self.classes)}

    torchvision.datasets.CIFAR10 = LentImages


def lend_cpu() -> None:
    """Move to the CPU what asks for 'cuda'."""
    for kind in (torch.nn.Module, torch.Tensor):
        original = kind.to

        def to(self: Any, *places: Any, original: Any = original, **named: Any) -> Any:
            places = tuple("cpu" if str(place).startswith("cuda") else place for place in places)
            return original(self, *places, **named)

        kind.to = to  # type: ignore[method-assign,assignment]


def count_steps(warmup: int, steps: int) -> None:
    """After `warmup` and `steps` more optimizer steps, print the seconds they took and end the process."""
    original = torch.optim.SGD.step
    clock = Clock()
    seen = 0

    def step(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal seen
        result = original(self, *arguments, **named)
        seen += 1
        if seen == warmup:
            clock.start()
        if seen == warmup + steps:
            spent = clock.stop()
            print(f"seconds={spent.wall},{spent.cpu}", flush=True)
            os._exit(0)
        return result

    torch.optim.SGD.step = step  # type: ignore[method-assign]


def main() -> None:
    """Lend, count, and run the checkout's main.py."""
    script, images, warmup, steps, *arguments = sys.argv[1:]
    lend_images(images)
    if not torch.cuda.is_available():
        lend_cpu()
    count_steps(int(warmup), int(steps))
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).resolve().parent))
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
