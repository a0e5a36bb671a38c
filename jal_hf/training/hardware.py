"""Which numeric precision and memory layout this machine runs fastest, found by looking and never assumed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Hardware:
    """What was found and what follows from it.

    `precision` is "bf16" or "fp32"; `channels_last` says whether convolutions run in that memory format;
    `reason` is one sentence for the log and the run's record.
    """

    device: str
    precision: str
    channels_last: bool
    reason: str


def cpu_flags(cpu_info: Path = _CPU_INFO) -> frozenset[str]:
    """Instruction-set flags of the processor as the Linux kernel names them; empty where it doesn't say."""
    if not cpu_info.is_file():
        return frozenset()
    for line in cpu_info.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def detect_hardware(*, use_cpu: bool = False, flags: frozenset[str] | None = None) -> Hardware:
    """Choose precision and layout for the first CUDA device, else for the CPU.

    Args:
        use_cpu: Look at the CPU even where a CUDA device is present.
        flags: CPU flags to decide from, in place of this machine's; for tests.

    bfloat16 is chosen on CUDA devices that compute in it, and on CPUs with AMX or AVX512-BF16 units. Any other
    CPU emulates bfloat16 and would be slowed down, so it stays in float32.
    """
    if torch.cuda.is_available() and not use_cpu:
        name = torch.cuda.get_device_name()
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Hardware(name, "bf16", True, f"{name} computes in bfloat16")
        return Hardware(name, "fp32", True, f"{name} has no bfloat16 units")
    found = cpu_flags() if flags is None else flags
    for flag, unit in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16")):
        if flag in found:
            return Hardware("cpu", "bf16", True, f"the CPU has {unit} units")
    return Hardware("cpu", "fp32", True, "the CPU has no bfloat16 units")


def launched_alone(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether accelerate's launcher was asked for several processes and started this one alone.

    `accelerate launch --cpu --num_processes 2` does: it sets the address that processes meet at, and no size of the
    world.
    """
    by_accelerate = "ACCELERATE_MIXED_PRECISION" in environment
    return by_accelerate and "MASTER_ADDR" in environment and "WORLD_SIZE" not in environment
