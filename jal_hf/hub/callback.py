"""Pushes while training goes on: each carries checkpoint, config, card and record in one commit, and no
pickle.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import HubStrategy

from jal_hf.ground.files import read_object, write_text
from jal_hf.ground.record import RECORD, RunRecord
from jal_hf.hub.files import STATE, model_files, run_files, state_files
from jal_hf.hub.model_card import render_model_card
from jal_hf.hub.push import push_run
from jal_hf.hub.transfer import PushError, upload_files
from jal_hf.hub.validation import repository_name

logger = logging.getLogger(__name__)


class HubCallback(TrainerCallback):
    """Takes over the Trainer's pushes at each save.

    The Trainer's own would leave the card out and send `training_args.bin`, a pickle. So `hub_strategy` is
    set to "end" while training runs, which keeps the Trainer from pushing, and this callback does it: at
    every save for `every_save`, with `last-checkpoint/` for `checkpoint`, with each `checkpoint-N/` and its
    optimizer state for `all_checkpoints`. Pushes run in a thread, one at a time; a save during one is
    skipped unless `hub_always_push`. One that fails is reported in the log and training goes on: the push at
    the end sends everything.

    Args:
        record: Gives the record of the run so far.
    """

    def __init__(self, record: Callable[[], RunRecord]) -> None:
        self.record = record
        self.strategy: HubStrategy | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._pushes: list[Future[str]] = []

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take over."""
        self._take_over(args)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take over where the callback was added late."""
        self._take_over(args)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Push the checkpoint that was just written."""
        self._take_over(args)
        if not state.is_world_process_zero or self.strategy in (None, HubStrategy.END):
            return
        self._pushes = [push for push in self._pushes if not self._report(push)]
        if self._pushes and not args.hub_always_push:
            return
        checkpoint = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        if checkpoint.is_dir():
            self._start(args, state, checkpoint)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Wait for a push under way and hand the strategy back."""
        self.finish()
        if self.strategy is not None:
            args.hub_strategy, self.strategy = self.strategy, None

    def on_push_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the card into the run's folder before the Trainer pushes it."""
        self.finish()
        folder = Path(str(args.output_dir))
        if state.is_world_process_zero and folder.is_dir() and not (folder / RECORD).exists():
            write_text(folder / "README.md", render_model_card(self.record()))

    def push_folder(
        self,
        args: TrainingArguments,
        *,
        repo_id: str | None = None,
        message: str = "End of training",
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
    ) -> str:
        """Push `args.output_dir`: a finished run by its record, any other by the facts there are so far.

        Returns:
            The address of the commit.

        Raises:
            PushError: when the Hub did not take it.
        """
        self.finish()
        folder = Path(str(args.output_dir))
        name = repo_id or str(args.hub_model_id or repository_name(folder))
        token, revision = token or args.hub_token, revision or args.hub_revision
        private = args.hub_private_repo if private is None else private
        if (folder / RECORD).is_file():
            return push_run(folder, name, private, token, revision=revision, message=message)
        files: dict[str, Path | bytes] = {**run_files(folder), **self._card(name)}
        return upload_files(name, files, message=message, private=private, token=token, revision=revision)

    def finish(self) -> None:
        """Wait until no push is under way."""
        for push in self._pushes:
            push.exception()
            self._report(push)
        self._pushes = []
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None

    def _take_over(self, args: TrainingArguments) -> None:
        if args.push_to_hub and self.strategy is None:
            self.strategy, args.hub_strategy = HubStrategy(args.hub_strategy), HubStrategy.END

    def _card(self, repo_id: str) -> dict[str, bytes]:
        """Card and record of a run that goes on; not written to its folder, where a record means a finished
        run.
        """
        record = self.record()
        record = record.replace(hub={**record.hub, "repo_id": repo_id})
        return {"README.md": render_model_card(record).encode(), "run.json": record.to_text().encode()}

    def _start(self, args: TrainingArguments, state: TrainerState, checkpoint: Path) -> None:
        """Copy what will be sent, since the Trainer may delete the checkpoint meanwhile, and push it in a
        thread.
        """
        copy = Path(tempfile.mkdtemp(prefix=".push-", dir=args.output_dir))
        sent: dict[str, Path | bytes] = {}
        for name, path in model_files(checkpoint).items():
            sent[name] = _link(path, copy / name)
        within = {HubStrategy.CHECKPOINT: "last-checkpoint", HubStrategy.ALL_CHECKPOINTS: checkpoint.name}
        if self.strategy in within:
            state_of = state_files(checkpoint, with_optimizer=self.strategy is HubStrategy.ALL_CHECKPOINTS)
            for name, path in {**model_files(checkpoint), **state_of}.items():
                place = f"{within[self.strategy]}/{name}"
                sent[place] = _named_state(path) if name == STATE else _link(path, copy / f"state-{name}")
        repo_id = str(args.hub_model_id or repository_name(str(args.output_dir)))
        sent |= self._card(repo_id)
        log = Path(str(args.output_dir)) / "log.jsonl"
        if log.is_file():
            sent["log.jsonl"] = log.read_bytes()
        message = f"Training in progress, step {state.global_step}"
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="jal-hf-push")
        self._pushes.append(self._executor.submit(_send, repo_id, sent, message, args, copy))

    def _report(self, push: Future[str]) -> bool:
        """Whether the push is over; a failure is logged once."""
        if not push.done():
            return False
        error = push.exception()
        if isinstance(error, PushError):
            logger.warning("%s. Training goes on; the push at its end sends everything.", error)
        elif error is not None:
            raise error
        return True


def _send(
    repo_id: str, files: dict[str, Path | bytes], message: str, args: TrainingArguments, copy: Path
) -> str:
    try:
        return upload_files(
            repo_id,
            files,
            message=message,
            private=args.hub_private_repo,
            token=args.hub_token,
            revision=args.hub_revision,
        )
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _named_state(path: Path) -> bytes:
    """The Trainer's state with its best checkpoint by name: the way to it is this machine's business."""
    state = read_object(path)
    if state.get("best_model_checkpoint"):
        state["best_model_checkpoint"] = Path(str(state["best_model_checkpoint"])).name
    return (json.dumps(state, indent=2) + "\n").encode()


def _link(source: Path, target: Path) -> Path:
    """A second name for a file, or a copy where the disk knows none; the Trainer replaces files, never edits
    them.
    """
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
