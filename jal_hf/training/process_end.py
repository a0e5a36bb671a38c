"""How a process that trained with others comes to its end."""

from __future__ import annotations

import atexit
import functools
import time

import torch.distributed as dist

# Seconds in which the threads of the process group drop what they hold; they need microseconds on an idle machine.
_PAUSE = 0.5


@functools.cache
def end_well() -> None:
    """Have this process wait a moment before its interpreter ends, if it belongs to a gloo group then.

    Gloo's threads free the tensors of the last collectives by themselves, and need the interpreter's lock for it. One
    that asks for it while the interpreter is taken down aborts the process (exit code -6, "terminate called without
    an active exception"), after the work is done and saved. A group that is destroyed at exit does not join its
    threads while any object still refers to it, so this gives them the lock instead.
    """
    atexit.register(_let_threads_finish)


def _let_threads_finish() -> None:
    if dist.is_available() and dist.is_initialized() and "gloo" in dist.get_backend():
        time.sleep(_PAUSE)
