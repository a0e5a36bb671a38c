"""Time and peak extra memory of forward and backward, for every loss beside `F.cross_entropy`, from one run.

    python examples/benchmarks/losses.py                      # CPU, float32
    python examples/benchmarks/losses.py --threads 2          # CPU, by the wall's clock
    python examples/benchmarks/losses.py --device cuda --dtype bfloat16

A round times cross entropy and then the loss, and the table shows the median over rounds of their ratio, so that
a busy machine slows both alike. On CPU the time of one thread is by its own clock. Memory is what one forward
and backward need at their highest beyond the logits, in buffers of the logits' size in float32.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from jal_hf.losses import create_loss, list_losses

Loss = Callable[[Tensor, Tensor], Tensor]
CPU_SHAPES = ["128x10", "1024x1000", "256x21841"]
CUDA_SHAPES = ["128x10", "4096x1000", "8192x32000"]


def step(loss: Loss, logits: Tensor, labels: Tensor) -> None:
    """One forward and backward."""
    logits.grad = None
    loss(logits, labels).backward()


def seconds(loss: Loss, logits: Tensor, labels: Tensor, repeats: int) -> float:
    """Seconds per step: of the device on CUDA, of this thread's clock on CPU, of the wall's with several threads."""
    if logits.device.type == "cuda":
        torch.cuda.synchronize()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(repeats):
            step(loss, logits, labels)
        end.record()
        torch.cuda.synchronize()
        return float(begin.elapsed_time(end)) / 1e3 / repeats
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    for _ in range(repeats):
        step(loss, logits, labels)
    return (clock() - start) / repeats


def peak_bytes(loss: Loss, logits: Tensor, labels: Tensor) -> int:
    """The highest sum of live allocations during one step, the gradient of the logits included."""
    logits.grad = None
    gc.collect()
    if logits.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        loss(logits, labels).backward()
        return int(torch.cuda.max_memory_allocated() - before)
    with LiveMemory() as memory:
        loss(logits, labels).backward()
    return memory.peak


class LiveMemory(TorchDispatchMode):
    """Adds up the storages alive after every operator; what an operator frees before it returns is not seen."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {
            value.untyped_storage()._cdata for value in args if isinstance(value, Tensor)
        } - self.storages.keys()
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor) and value.untyped_storage()._cdata not in given:
                storage = value.untyped_storage()
                self.storages[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
                del storage
        value = None
        self.storages = {key: kept for key, kept in self.storages.items() if not kept[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.storages.values()))
        return result


def measure(
    names: list[str], shape: str, device: str, dtype: torch.dtype, rounds: int
) -> list[tuple[str, float, float, float]]:
    """(name, milliseconds, ratio to cross entropy, extra float32 buffers) for each loss, cross entropy first."""
    count, classes = map(int, shape.split("x"))
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, classes, generator=generator).to(device, dtype).requires_grad_()
    labels = torch.randint(classes, (count,), generator=generator).to(device)
    repeats = max(3, min(100, 400_000 // (count * classes)))
    buffer = 4 * count * classes
    base_peak = peak_bytes(F.cross_entropy, logits, labels)
    base_times: list[float] = []
    rows = []
    for name in names:
        loss = create_loss(name).to(device)
        for warm in (loss, F.cross_entropy):
            step(warm, logits, labels)
        times, beside = [], []
        for _ in range(rounds):
            beside.append(seconds(F.cross_entropy, logits, labels, repeats))
            times.append(seconds(loss, logits, labels, repeats))
        base_times += beside
        ratio = statistics.median(times) / statistics.median(beside)
        extra = (peak_bytes(loss, logits, labels) - base_peak) / buffer
        rows.append((name, 1e3 * statistics.median(times), ratio, extra))
    return [("F.cross_entropy", 1e3 * statistics.median(base_times), 1.0, 0.0), *rows]


def limit_of(name: str, shape: str, device: str) -> float:
    """The ratio this package sets itself."""
    if device == "cuda":
        return 1.0 if name == "jal-ce" else float("inf")
    if name == "jal-ce":
        return 3.2 if shape == "128x10" else 2.0
    return 4.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "float64", "bfloat16", "float16"], default="float32")
    parser.add_argument("--shapes", nargs="+", metavar="NxK", help="Batch and classes, such as 1024x1000.")
    parser.add_argument("--losses", nargs="+", metavar="NAME", default=list_losses())
    parser.add_argument(
        "--rounds",
        type=int,
        default=9,
        help="Rounds, in which a loss and cross entropy take turns; the ratio is of their medians.",
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads.")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shapes = arguments.shapes or (CPU_SHAPES if arguments.device == "cpu" else CUDA_SHAPES)
    dtype = getattr(torch, arguments.dtype)
    table: dict[str, list[str]] = {}
    for shape in shapes:
        print(f"measuring {shape} ...", flush=True)
        for name, milliseconds, ratio, extra in measure(
            arguments.losses, shape, arguments.device, dtype, arguments.rounds
        ):
            slow = "*" if ratio > limit_of(name, shape, arguments.device) else " "
            large = "m" if extra > 1.05 else " "
            cell = f"{milliseconds:9.3f} {ratio:6.2f} {extra:6.2f} {slow}{large}"
            table.setdefault(name, []).append(cell)
    print(f"\nforward + backward, {arguments.device} {arguments.dtype}, torch {torch.__version__}")
    print("per shape: milliseconds, times F.cross_entropy, extra float32 buffers over it;")
    print("* slower than the limit, m more than one buffer over cross entropy")
    print(f"{'loss':<16}" + "".join(f" | {shape:^26}" for shape in shapes))
    for name, cells in table.items():
        print(f"{name:<16}" + "".join(f" | {cell}" for cell in cells))


if __name__ == "__main__":
    main()
