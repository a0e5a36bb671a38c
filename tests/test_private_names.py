"""Names with an underscore that the package takes from other libraries, for want of a public one: all still there."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
import torch
import transformers
from torch.utils.data import dataloader
from transformers import PreTrainedModel, Trainer

from jal_hf.training.trainer import RobustTrainer

SOURCE = Path(inspect.getfile(Trainer)).read_text(encoding="utf-8")
# Methods that ours stand in for; the parent calls them in its own.
TRAINER = {
    "_get_output_dir": "a trial's folder",
    "_get_train_sampler": "the order of rows grouped by length",
    "_hp_search_setup": "loss and method of a trial",
    "_init_training_state": "where a resumed run goes on",
    "_issue_warnings_after_load": "refusing another network's checkpoint",
    "_load_best_model": "weights that are saved under other names",
    "_load_from_checkpoint": "weights that are saved under other names",
    "_prepare_inputs": "rows' numbers beside a batch",
    "_save": "weights of plain modules",
}
# Attributes that ours read or set.
STATE = {
    "_created_lr_scheduler": "a schedule by epochs",
    "_eval_dataloaders": "workers that end with a training",
}
STREAM = {
    "_distributed": "refusing noise on a part of a stream",
    "_formatting": "rows in their order",
    "_resolve_features": "the columns of a stream that does not tell them",
    "_token_per_repo_id": "private streams",
}
MODULE = ("_backward_hooks", "_backward_pre_hooks", "_forward_hooks", "_forward_pre_hooks")
FOREACH = ("_foreach_add_", "_foreach_lerp_", "_foreach_mul_", "_foreach_norm", "_foreach_sign")


def gone(library: object, name: str, what: str) -> str:
    return f"{library.__name__} {library.__version__} no longer has {name}, which {what} needs here."  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", TRAINER)
def test_the_trainer_still_calls_what_ours_stands_in_for(name: str) -> None:
    assert name in vars(Trainer), gone(transformers, f"Trainer.{name}", TRAINER[name])
    is_called = re.search(rf"\bself\.{name}\b", SOURCE)
    assert is_called, gone(transformers, f"a call of Trainer.{name}", TRAINER[name])


def test_every_private_method_of_ours_that_stands_in_for_one_is_listed() -> None:
    ours = RobustTrainer.__mro__[: RobustTrainer.__mro__.index(Trainer)]
    names = {name for part in ours for name, value in vars(part).items() if inspect.isfunction(value)}
    private = {name for name in names if name.startswith("_") and not name.startswith("__")}
    assert private & set(vars(Trainer)) == set(TRAINER)


@pytest.mark.parametrize("name", STATE)
def test_the_trainer_still_keeps_what_ours_reads(name: str) -> None:
    assert f"self.{name}" in SOURCE, gone(transformers, f"Trainer.{name}", STATE[name])


@pytest.mark.parametrize("name", STREAM)
def test_streams_still_have_what_ours_reads(name: str) -> None:
    stream = datasets.Dataset.from_dict({"a": [1]}).to_iterable_dataset()
    assert hasattr(stream, name), gone(datasets, f"IterableDataset.{name}", STREAM[name])


def test_datasets_still_have_what_ours_reads() -> None:
    rows = datasets.Dataset.from_dict({"a": [1, 2]}).select([1, 0])
    assert isinstance(rows._fingerprint, str), gone(datasets, "Dataset._fingerprint", "the cache of noise")
    assert rows._indices is not None, gone(datasets, "Dataset._indices", "reading rows of a part")


HOLDERS: dict[str, Callable[[], bool]] = {
    "Module's hooks": lambda: all(hasattr(torch.nn.Module(), name) for name in MODULE),
    "operators on lists": lambda: all(hasattr(torch, name) for name in FOREACH),
    "DataLoader._iterator": lambda: hasattr(torch.utils.data.DataLoader([1]), "_iterator"),
    "the end of workers": lambda: callable(dataloader._MultiProcessingDataLoaderIter._shutdown_workers),
    "_BatchNorm": lambda: issubclass(torch.nn.BatchNorm2d, torch.nn.modules.batchnorm._BatchNorm),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_torch_still_has_what_ours_reads(name: str) -> None:
    assert HOLDERS[name](), gone(torch, name, "the captured step or the end of a training")


def test_models_of_transformers_still_have_what_ours_write() -> None:
    for name in ("_init_weights", "_supports_sdpa", "_keys_to_ignore_on_save"):
        assert hasattr(PreTrainedModel, name), gone(transformers, f"PreTrainedModel.{name}", "a network")
