"""Which files of a run are shared. Named one by one, so that no pickle slips through."""

from __future__ import annotations

from pathlib import Path

_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
)
_MODEL = ("config.json", "preprocessor_config.json", "model.safetensors.index.json", *_TOKENIZER)
_SHARED = (*_MODEL, "README.md", "run.json", "log.jsonl")
_SHARED_PATTERNS = ("model*.safetensors", "plots/*.png", "plots/*.svg")
STATE = "trainer_state.json"
_STATE = (STATE, "optimizer.pt", "scheduler.pt")


def run_files(folder: Path) -> dict[str, Path]:
    """Files of a finished run by their path in the repository: checkpoint, tokenizer, card, record, log, plots.

    Raises:
        FileNotFoundError: when the folder holds no checkpoint.
    """
    found = _existing(folder, _SHARED, _SHARED_PATTERNS)
    if "config.json" not in found or not any(name.endswith(".safetensors") for name in found):
        raise FileNotFoundError(
            f"{folder} holds no config.json with model.safetensors, so there is nothing to push. "
            "Give the folder of a finished run."
        )
    return found


def model_files(checkpoint: Path) -> dict[str, Path]:
    """The model's files of one checkpoint of the Trainer, its tokenizer's too."""
    return _existing(checkpoint, _MODEL, ("model*.safetensors",))


def state_files(checkpoint: Path, with_optimizer: bool) -> dict[str, Path]:
    """What resuming from a checkpoint takes besides the model.

    Optimizer and scheduler state are torch files, so only `hub_strategy="all_checkpoints"` sends them; the
    pickled arguments are never sent.
    """
    return _existing(checkpoint, _STATE if with_optimizer else _STATE[:1], ())


def _existing(folder: Path, names: tuple[str, ...], patterns: tuple[str, ...]) -> dict[str, Path]:
    paths = [folder / name for name in names] + [
        path for pattern in patterns for path in folder.glob(pattern)
    ]
    # A link could point anywhere, outside the run too: one in the place of a folder as well as one of a file.
    return {
        path.relative_to(folder).as_posix(): path
        for path in paths
        if path.is_file() and path.resolve() == folder.resolve() / path.relative_to(folder)
    }
