"""The values that a run is made of, by field name: which there are, of what type, in what range."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from jal_hf.data import DataArguments
from jal_hf.ground.secrets import SECRET_FIELDS
from jal_hf.ground.sentences import did_you_mean, shortened
from jal_hf.models.freezing import FREEZES
from jal_hf.training.arguments import JALTrainingArguments
from jal_hf.training.json_parameters import parse_json_object

Values = Mapping[str, Any]
"""Values by field name; plain ones, as JSON and YAML hold them."""


@dataclass(frozen=True)
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
    freeze: str = field(
        default="none",
        metadata={
            "help": "What training leaves as it is: none; bn, the statistics of batch norm, for small data; lower, the "
            "first two thirds of the layers too; backbone, all but the classifier.",
            "choices": list(FREEZES),
        },
    )
    head_start: str = field(
        default="own",
        metadata={
            "help": "First weights of a fresh classifier: own, as its library starts it; zero; auto, zero where they "
            "are so large that most samples look decided (EfficientNet, MobileNet).",
            "choices": ["own", "zero", "auto"],
        },
    )


GROUPS = (DataArguments, ModelArguments, JALTrainingArguments)

_AT_LEAST: dict[str, float] = {
    "num_train_epochs": 0.0, "learning_rate": 0.0, "max_grad_norm": 0.0, "weight_decay": 0.0, "l1_weight_decay": 0.0,
    "gradient_accumulation_steps": 1, "per_device_train_batch_size": 1, "per_device_eval_batch_size": 1,
    "max_train_samples": 1, "max_eval_samples": 1, "image_size": 1, "num_classes": 1, "max_length": 3,
    "seed": 0, "noise_seed": 0, "data_seed": 0, "dataloader_num_workers": 0, "warmup_steps": 0,
    "save_total_limit": 0, "save_seconds": 0.0,
    "logging_steps": 0.0, "eval_steps": 0.0, "save_steps": 0.0,
}  # fmt: skip
# numpy and torch take no larger seed; anything else is counted in 64 bits.
_AT_MOST: dict[str, float] = dict.fromkeys(("seed", "noise_seed", "data_seed"), 2**32 - 1)
_LARGEST = 2**63 - 1
_JSON = frozenset({"loss_args", "method_args"})
_POSITIVE = frozenset({"num_train_epochs", "save_seconds", "logging_steps", "eval_steps", "save_steps"})
_LONGEST_TEXT = 4096
_LONGEST_PATH, _LONGEST_NAME = 1024, 200


@cache
def known_fields() -> dict[str, tuple[type, Field[Any]]]:
    """Each field of a run by name: the class that holds it, and the field."""
    return {item.name: (group, item) for group in GROUPS for item in fields(group) if item.init}


@cache
def _types() -> dict[str, Any]:
    return {name: hint for group in GROUPS for name, hint in get_type_hints(group).items()}


def group_values(group: type, values: Values) -> dict[str, Any]:
    """The values whose fields stand in one of `GROUPS`."""
    return {name: value for name, value in values.items() if known_fields()[name][0] is group}


def checked_values(values: Values, where: str = "The run") -> dict[str, Any]:
    """The values, each of its field's type and range; what reads as its type is converted (1 for 1.0, '1e-2').

    Args:
        values: By field name.
        where: What the values belong to, for the sentence: "Recipe 'mine'".

    Raises:
        ValueError: A name that no field has, or a value of the wrong type or out of range; the name is said.
    """
    found = {}
    for name, value in values.items():
        if name not in known_fields():
            hint = did_you_mean(name, known_fields())
            raise ValueError(
                f"{where} has a setting {shortened(name)!r} that is no flag of jal-hf train.{hint}"
            )
        found[name] = checked_value(name, value, where)
    return found


def checked_value(name: str, value: Any, where: str = "The run") -> Any:
    """One value of a field; see `checked_values`."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, Path):
        value = str(value)
    try:
        result = parse_json_object(name, value) if name in _JSON else _as_type(value, _types()[name])
    except (TypeError, ValueError, OverflowError) as error:
        if name in _JSON:
            raise ValueError(f"{where}: {error}") from error
        shown = "a secret" if name in SECRET_FIELDS else repr(shortened(value))
        raise ValueError(f"{where}: {name} must be {_type_name(_types()[name])}, got {shown}.") from error
    _check_range(name, result, where)
    return result


def _check_range(name: str, value: Any, where: str) -> None:
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        raise ValueError(
            f"{where}: {name} is a text of {len(value):,} characters; at most {_LONGEST_TEXT:,}."
        )
    if isinstance(value, str) and "\0" in value:
        raise ValueError(f"{where}: {name} holds a NUL character.")
    if name == "output_dir" and value is not None:
        _check_folder_name(str(value), where)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if not math.isfinite(value):
        raise ValueError(f"{where}: {name} must be a finite number, got {value}.")
    least = _AT_LEAST.get(name)
    if least is not None and (value < least or (value == least and name in _POSITIVE)):
        bound = f"more than {least:g}" if name in _POSITIVE else f"at least {least:g}"
        raise ValueError(f"{where}: {name} must be {bound}, got {value:g}.")
    most = _AT_MOST.get(name, _LARGEST if isinstance(value, int) else math.inf)
    if value > most:
        raise ValueError(f"{where}: {name} must be at most {most}, got {value:g}.")


def _check_folder_name(value: str, where: str) -> None:
    if not value.strip():
        raise ValueError(f"{where}: output_dir is empty; name a folder.")
    if len(value) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_NAME for part in Path(value).parts):
        raise ValueError(
            f"{where}: output_dir {shortened(value)!r} is too long; at most {_LONGEST_NAME} bytes a name and "
            f"{_LONGEST_PATH:,} characters in all."
        )


def _as_type(value: Any, hint: Any) -> Any:
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _as_one_of(value, get_args(hint))
    if hint in (None, type(None)):
        if value is not None:
            raise TypeError
        return None
    if origin is Literal:
        if value not in get_args(hint):
            raise ValueError
        return value
    if hint is bool:
        if not isinstance(value, bool):
            raise TypeError
        return value
    if hint in (int, float):
        return _number(value, hint)
    if origin in (list, tuple) or hint is list:
        if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
            raise TypeError
        inside = next(iter(get_args(hint)), Any)
        return [_as_type(item, inside) for item in value]
    if origin is dict or hint is dict:
        return _mapping(value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value).value
    if isinstance(hint, type) and not isinstance(value, hint):
        raise TypeError
    return value


def _as_one_of(value: Any, hints: tuple[Any, ...]) -> Any:
    if value is None and type(None) in hints:
        return None
    # A type that the value has already wins over one that it can be turned into.
    exact = [hint for hint in hints if isinstance(hint, type) and type(value) is hint]
    for hint in [*exact, *(hint for hint in hints if hint not in exact)]:
        try:
            return _as_type(value, hint)
        except (TypeError, ValueError):
            continue
    raise TypeError


def _number(value: Any, hint: type) -> int | float:
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, str):  # YAML reads 1e-2 as text
        value = float(value)
    if not isinstance(value, int | float):
        raise TypeError
    if hint is int:
        if float(value) != int(value):
            raise ValueError
        return int(value)
    return float(value)


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except RecursionError as error:
            raise ValueError("too deep") from error
    if not isinstance(value, Mapping):
        raise TypeError
    return dict(value)


def _type_name(hint: Any) -> str:
    names = {
        bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a JSON object",
        list: "a list", type(None): "nothing",
    }  # fmt: skip
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type_name(part) for part in get_args(hint)))
    if origin in (list, tuple):
        return "a list"
    if origin is dict:
        return "a JSON object"
    if origin is Literal:
        return " or ".join(map(repr, get_args(hint)))
    return names.get(hint, getattr(hint, "__name__", str(hint)))
