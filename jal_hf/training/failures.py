"""Ends of a run that are no bug of the program: each one sentence and an exit code."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

from safetensors import SafetensorError

from jal_hf.ground.image_files import UnreadableImageError
from jal_hf.ground.sentences import shortened

EXIT_FAILED = 1
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
# safetensors and torch.save report a failed write without an errno of Python's.
_FULL_TEXTS = ("No space left", "Disk quota exceeded", "File too large", "os error 28")
_WRITERS = (
    "PytorchStreamWriter",
    "unexpected pos",
    "I/O error",
    "os error",
    "enforce fail at inline_container",
)


_LEAVE_OUT = (
    "With --on_bad_image skip (in Python on_bad_image='skip') up to 5 % of the images are left out for that."
)


class RunError(RuntimeError):
    """A run that cannot go on; `exit_code` is what the program exits with (1 unless said)."""

    exit_code = EXIT_FAILED


class NonFiniteLossError(RunError):
    """The loss, its gradient or a parameter became NaN or infinite."""


class InterruptedRunError(RunError):
    """A signal ended the run after a checkpoint; the exit code is 128 plus the signal's number."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def interrupted(signal_number: int, step: int, folder: Path) -> InterruptedRunError:
    """The end of a run whose Trainer was stopped by a signal."""
    name = signal.Signals(signal_number).name
    return InterruptedRunError(f"Stopped by {name} after step {step}. {_how_to_go_on(folder)}", signal_number)


@contextmanager
def resuming(checkpoint: object, has_begun: Callable[[], bool]) -> Iterator[None]:
    """Turn what a checkpoint's odd content brings about, before the first step, into a `RunError`.

    Args:
        checkpoint: What is resumed; nothing is changed where there is none.
        has_begun: Whether a step has begun, after which nothing more is read from it.
    """
    try:
        yield
    except (
        LookupError,
        AttributeError,
        TypeError,
        ArithmeticError,
        EOFError,
        RuntimeError,
        UnpicklingError,
    ) as error:
        if not checkpoint or has_begun() or isinstance(error, RunError):
            raise
        reason = shortened(
            str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__, 300
        )
        raise RunError(
            f"Training cannot go on from {checkpoint}: {reason} Its files do not fit this run, or are damaged."
        ) from error


@contextmanager
def explained(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Turn a failed read or write of files into a `RunError` that says what happened and how to go on.

    Args:
        folder: The run's folder, whose disk and checkpoints the sentence speaks of.

    Raises:
        RunError: In place of an error of the disk; any other error passes through as it is.
        UnreadableImageError: With the way to leave such images out, and without the traceback in which a process that
            reads ahead wraps it.
    """
    try:
        yield
    except RunError:
        raise
    except UnreadableImageError as error:
        if _LEAVE_OUT in str(error):
            raise
        named = str(error).strip().rpartition(f"{UnreadableImageError.__name__}: ")[2]
        raise UnreadableImageError(f"{named} {_LEAVE_OUT}") from error
    except (OSError, RuntimeError, SafetensorError) as error:
        sentence = explanation(error, Path(folder))
        if sentence is None:
            raise
        raise RunError(sentence) from error


def explanation(error: BaseException, folder: Path) -> str | None:
    """The sentence for an error of the disk, or None for any other error."""
    text = str(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        return None
    if isinstance(error, FileNotFoundError):
        path = error.filename or _quoted_path(text)
        if path is None:
            return None
        return f"The file {path} has vanished while the run needed it; put it back. {_how_to_go_on(folder)}"
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL or any(mark in text for mark in _FULL_TEXTS):
        return f"The disk is full: {_where(error, folder)} could not be written. {_how_to_go_on(folder)}"
    if number in _REFUSED:
        reason = os.strerror(number or 0)
        return f"{_where(error, folder)} cannot be opened or written ({reason}). {_how_to_go_on(folder)}"
    is_writer = isinstance(error, SafetensorError | RuntimeError)
    if is_writer and any(mark in text for mark in _WRITERS):
        return (
            f"A file in {folder} could not be written ({text.splitlines()[0]}; {_free(folder)}). "
            f"Is the disk full? {_how_to_go_on(folder)}"
        )
    return None


def _where(error: BaseException, folder: Path) -> str:
    name = getattr(error, "filename", None)
    return f"{name or 'a file in ' + str(folder)} ({_free(folder)})"


def _free(folder: Path) -> str:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return f"{shutil.disk_usage(folder).free / 2**20:.1f} MiB free"


def _quoted_path(text: str) -> str | None:
    found = re.search(r"No such file or directory: '([^']+)'", text)
    return found.group(1) if found else None


def _how_to_go_on(folder: Path) -> str:
    from jal_hf.training.checkpoints import last_complete_checkpoint

    last = last_complete_checkpoint(folder)
    if last is None:
        return "No checkpoint had been written yet, so the run starts again."
    return f"{last.name} is whole: go on from it with --resume auto."
