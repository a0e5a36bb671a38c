"""How the C library of this process treats freed memory.

glibc gives every large block back to the kernel as soon as it is freed, and trims its heap. A training step on a CPU
frees and asks for the same large activations again and again, so the kernel zeroes the same pages every step.
"""

from __future__ import annotations

import ctypes
import os
import sys

# From malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
# Blocks up to this size, in bytes, come from the heap and stay there.
_KEPT_BLOCK = 2**30
_HEAP_STEP = 2**26
_NEVER_TRIM = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory in this process, for the next step to use.

    The process then holds on to its peak memory until it ends. Where one of glibc's own settings is in the
    environment (`MALLOC_TRIM_THRESHOLD_`, `MALLOC_MMAP_THRESHOLD_`, `MALLOC_TOP_PAD_`, `GLIBC_TUNABLES`), nothing is
    changed.

    Returns:
        Whether glibc took it; False with another C library.
    """
    if not sys.platform.startswith("linux") or any(
        name in os.environ
        for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")
    ):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    wishes = ((_M_MMAP_THRESHOLD, _KEPT_BLOCK), (_M_TRIM_THRESHOLD, _NEVER_TRIM), (_M_TOP_PAD, _HEAP_STEP))
    taken = [library.mallopt(name, value) == 1 for name, value in wishes]
    return all(taken)
