"""From recipe, loss preset and flags to the settings of one run."""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NoReturn

from transformers import HfArgumentParser

from jal_hf.data import DataArguments
from jal_hf.losses import loss_preset
from jal_hf.training.arguments import JALTrainingArguments, parse_loss_args
from jal_hf.training.recipes import Recipe, load_recipe


@dataclass
class ModelArguments:
    """Which network is trained."""

    _argument_group_name: ClassVar[str] = "model"

    model: str = field(
        default="resnet18",
        metadata={
            "help": "Any timm model name, 'hf-hub:NAME/REPO', or a local folder with a checkpoint to go on from."
        },
    )
    pretrained: bool = field(
        default=False, metadata={"help": "Start from the published weights of a timm model."}
    )
    weights: str | None = field(
        default=None,
        metadata={
            "help": "Start a timm model from a .safetensors, .pth, .pt or .bin file; what fitted is reported."
        },
    )


@dataclass(frozen=True)
class RunSettings:
    """All that one run needs; `deviations` are the sentences on how it differs from its recipe."""

    recipe: Recipe
    data: DataArguments
    model: ModelArguments
    training: JALTrainingArguments
    deviations: list[str]
    command: str


_CLASSES = (DataArguments, ModelArguments, JALTrainingArguments)


class _Parser(HfArgumentParser):  # type: ignore[misc]
    """Bad values raise a sentence instead of printing two screens of usage."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message[:1].upper()}{message[1:]}. `jal-hf train --help` explains each flag.")


def parser(prog: str = "jal-hf train") -> HfArgumentParser:
    """The parser of `jal-hf train`, without a recipe's defaults."""
    result = _Parser(
        _CLASSES,
        prog=prog,
        usage=f"{prog} [RECIPE] [--flags]",
        description="Train one robust classifier. RECIPE is a built-in name (digits by default) or a YAML file; "
        "flags override it. Example: jal-hf train mnist --dataset ylecun/mnist --noise symmetric:0.4 --loss agce",
        epilog="Exit codes: 0 done, 1 the run failed, 2 bad input, 130 or 143 stopped by Ctrl-C or SIGTERM with a "
        "checkpoint saved (go on with --resume auto).",
        allow_abbrev=False,
    )
    result.add_argument(
        "recipe", nargs="?", default="digits", help="Built-in recipe name or path of a YAML file."
    )
    result.add_argument(
        "--fast",
        action="store_true",
        help="Take the recipe's faster settings; the record says what they change.",
    )
    result.add_argument(
        "--resume",
        default=None,
        metavar="auto|DIR",
        help="Go on from a checkpoint of an interrupted run: 'auto' takes the last one in the output folder.",
    )
    return result


def parse_settings(argv: Sequence[str]) -> RunSettings:
    """Settings of a run from the words after `jal-hf train`.

    Raises:
        ValueError: Unknown recipe, flag or value, as a sentence.
    """
    asked = explicit_flags(argv)
    recipe = load_recipe(asked.get("recipe", "digits"))
    defaults = dict(recipe.settings)
    if asked.get("fast"):
        defaults |= {key: value for key, value in recipe.fast.items() if key != "why"}
    return build_settings(recipe, defaults, asked, _command(argv))


def _command(argv: Sequence[str]) -> str:
    """The command as typed, less any access token, for it stands in the record and on the card."""
    words = [re.sub(r"^(--hub_token=).*", r"\1...", word) for word in argv]
    words = [
        "..." if before == "--hub_token" else word for before, word in zip(["", *words], words, strict=False)
    ]
    return shlex.join(["jal-hf", "train", *words])


def build_settings(
    recipe: Recipe, defaults: dict[str, Any], asked: dict[str, Any], command: str = ""
) -> RunSettings:
    """Settings from a recipe's values and what was asked for by flag name, which wins.

    Raises:
        ValueError: A key that no flag has, or a value outside its range.
    """
    known = {item.name for cls in _CLASSES for item in fields(cls) if item.init}
    for key in sorted(set(defaults) - known):
        near = difflib.get_close_matches(key, sorted(known), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"Recipe {recipe.name!r} has a setting {key!r} that is no flag of jal-hf train.{hint}"
        )
    if "loss" in asked and asked["loss"] != defaults.get("loss"):
        defaults = {key: value for key, value in defaults.items() if key != "loss_args"}
    values = {**defaults, **{key: value for key, value in asked.items() if key in known}}
    resume = asked.get("resume") or values.get("resume_from_checkpoint")
    values["resume_from_checkpoint"] = "auto" if resume in ("auto", "True", "true", True) else resume
    values = _with_preset(values, asked)
    values.setdefault("seed", 0)
    if values.get("noise_seed") is None:
        values["noise_seed"] = values["seed"]
    values.setdefault("output_dir", _default_folder(recipe.name, values))
    data, model, training = (
        cls(**{k: v for k, v in values.items() if k in {f.name for f in fields(cls)}}) for cls in _CLASSES
    )
    return RunSettings(recipe, data, model, training, _deviations(recipe, asked), command)  # type: ignore[arg-type]


def _with_preset(values: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Fill loss parameters and decay from the preset, where they were not given."""
    preset = values.get("preset")
    if preset in (None, "auto", "none"):
        return {**values, "preset": None if preset == "none" else preset}
    chosen = loss_preset(values.get("loss", "jal-ce"), preset)
    loss_args = {**chosen.params, **parse_loss_args(values.get("loss_args"))}
    decay = {"weight_decay": chosen.weight_decay, "l1_weight_decay": chosen.l1_weight_decay}
    if "weight_decay" in asked and "l1_weight_decay" not in asked:
        decay["l1_weight_decay"] = 0.0
    given = {key: value for key, value in values.items() if key in decay}
    return {**values, **decay, **given, "loss_args": loss_args}


def explicit_flags(argv: Sequence[str]) -> dict[str, Any]:
    """Only what stands on the command line after `jal-hf train`, by destination name, with types applied.

    Raises:
        ValueError: A flag that doesn't exist, with the nearest one, or a value of the wrong type.
    """
    quiet = parser()
    if any(word in ("-h", "--help") for word in argv):
        quiet.parse_args(["--help"])
    for action in quiet._actions:
        action.default = argparse.SUPPRESS
    namespace, unknown = quiet.parse_known_args(list(argv))
    if unknown:
        flags = sorted({option for action in quiet._actions for option in action.option_strings})
        near = difflib.get_close_matches(unknown[0].split("=")[0], flags, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"Unknown argument {unknown[0]!r}.{hint} `jal-hf train --help` lists all flags.")
    return dict(vars(namespace))


# What a paper's protocol fixes; anything else (folders, logging, seeds) is no deviation from it.
_PROTOCOL_FLAGS = frozenset(
    """
    dataset model pretrained image_size image_mean image_std augment num_train_epochs max_steps
    per_device_train_batch_size gradient_accumulation_steps learning_rate lr_scheduler_type lr_scheduler_kwargs
    optim optim_args weight_decay l1_weight_decay decay_all_parameters max_grad_norm loss_args preset
    max_train_samples val_fraction max_eval_samples
    """.split()  # noqa: SIM905 - a list of words reads better than a column of quotes
)


def _deviations(recipe: Recipe, asked: dict[str, Any]) -> list[str]:
    """Sentences on each flag that differs from what the recipe's protocol fixes."""
    sentences = [str(item) for item in recipe.protocol.get("deviations", [])]
    changed = {**(recipe.fast if asked.get("fast") else {}), **asked}
    for key, value in sorted(changed.items()):
        if key not in _PROTOCOL_FLAGS or key == "dataset":
            continue
        before = recipe.settings.get(key)
        if before != value:
            sentences.append(
                f"{key} {_plain(value)}" + (f" instead of {_plain(before)}" if before is not None else "")
            )
    return sentences


def _plain(value: Any) -> str:
    """3.0 as 3: a flag's float and a recipe's integer read the same."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _default_folder(recipe: str, values: dict[str, Any]) -> str:
    noise = (
        str(values.get("noise", "none"))
        .replace(":", "-")
        .replace("/", "_")
        .replace(",", "_")
        .replace("#", "_")
    )
    return f"runs/{recipe}-{values.get('loss', 'jal-ce')}-{noise}-seed{values['seed']}"
