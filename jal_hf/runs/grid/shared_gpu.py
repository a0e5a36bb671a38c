"""Several processes on one GPU at the same time, by NVIDIA's Multi-Process Service (MPS); without it they take turns.

Small networks leave most of a GPU free. On an H200, four captured trainings of the 8-layer CNN side by side took 63,700
images/s together in turns and 134,000 with MPS; one alone took 68,700.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

logger = logging.getLogger(__name__)

CONTROL = "nvidia-cuda-mps-control"
CHOICES = ("auto", "on", "off")
PIPES = "CUDA_MPS_PIPE_DIRECTORY"
# Where a daemon that somebody else started listens unless told otherwise.
USUAL_PIPES = Path("/tmp/nvidia-mps/control")
# Beside the path, for machines whose driver is mounted.
_PLACES = ("/usr/local/nvidia/bin", "/usr/bin")
_SECONDS = 30

# Connects to the GPU as a training does, in a process that needs nothing but the driver.
PROBE = """
import ctypes
cuda = ctypes.CDLL("libcuda.so.1")
assert cuda.cuInit(0) == 0
context = ctypes.c_void_p()
assert cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
"""


class SharingError(ValueError):
    """The service was asked for and cannot be had."""


@contextlib.contextmanager
def shared_gpu(mode: str, jobs: int | None, devices: int) -> Iterator[bool]:
    """Inside, processes that are started share each GPU at the same time, where that can be had.

    Args:
        mode: `auto` starts the service where several processes share a GPU; `on` insists; `off` leaves it.
        jobs: Processes side by side; None where it will be found out.
        devices: CUDA devices; 0 on a CPU.

    Yields:
        Whether a service was started, which ends with the block.

    Raises:
        SharingError: `on`, and it cannot be had.
        ValueError: Another mode.
    """
    if mode not in CHOICES:
        raise ValueError(f"--mps must be one of {', '.join(CHOICES)}, got {mode!r}.")
    is_shared = devices > 0 and (jobs is None or jobs > devices)
    has_one = PIPES in os.environ or USUAL_PIPES.exists()
    if mode == "off" or (mode == "auto" and (not is_shared or has_one)):
        yield False
        return
    with contextlib.ExitStack() as closing:
        try:
            environment = closing.enter_context(_service())
        except SharingError as error:
            if mode == "on":
                raise SharingError(f"--mps on: {error}. Use --mps auto or off.") from error
            logger.warning("Processes take turns on the GPU: %s.", error)
            yield False
            return
        closing.enter_context(_changed(environment))
        yield True


@contextlib.contextmanager
def _service() -> Iterator[Mapping[str, str]]:
    """A running daemon with pipes of its own; gives the environment of its clients."""
    control = shutil.which(CONTROL, path=os.pathsep.join([os.environ.get("PATH", ""), *_PLACES]))
    if control is None:
        raise SharingError(f"there is no {CONTROL}, which comes with NVIDIA's driver")
    with tempfile.TemporaryDirectory(prefix="jal-hf-mps-") as folder:
        added = {PIPES: folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        environment = {**os.environ, **added}
        _ran([control, "-d"], environment, "does not start")
        try:
            _ran([sys.executable, "-c", PROBE], environment, "runs, and no process can connect to it")
            yield added
        finally:
            with contextlib.suppress(SharingError):
                _ran([control], environment, "does not end", words="quit\n")


def _ran(command: list[str], environment: Mapping[str, str], failure: str, words: str = "") -> None:
    try:
        # The daemon keeps its parent's outputs, so nobody may wait for their end.
        done = subprocess.run(
            command, env=dict(environment), input=words.encode(), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=_SECONDS, check=False, start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SharingError(f"{CONTROL} {failure} ({type(error).__name__})") from error
    if done.returncode:
        raise SharingError(f"{CONTROL} {failure} (code {done.returncode})")


@contextlib.contextmanager
def _changed(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
