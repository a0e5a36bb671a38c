"""Weights from a file put into a network, and the fact of where a model's weights came from."""

from __future__ import annotations

import argparse
import os
import pickle
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor, nn

from jal_hf.ground.files import JsonObject
from jal_hf.models.head import head_parameter_names

# Where training programs put the weights among their other state; an average of the weights comes first.
_NESTED = (
    "state_dict_ema", "model_ema", "ema_state_dict", "state_dict", "model_state_dict", "model", "teacher", "student",
    "network", "net", "weights",
)  # fmt: skip
_COUNTER = "num_batches_tracked"
_LEAST_SHARE = 0.5


@dataclass(frozen=True)
class WeightsReport:
    """What of a file fitted a network.

    `matched_by` is `names`, `timm's names` (after timm's own conversion) or `order`; `fitted`, `fresh_head`,
    `missing` and `other_shape` name weights of the network, `unused` those of the file; `share` is the fitted part
    of the network's numbers, the classifier aside.
    """

    matched_by: str
    fitted: tuple[str, ...]
    fresh_head: tuple[str, ...]
    missing: tuple[str, ...]
    other_shape: tuple[str, ...]
    unused: tuple[str, ...]
    share: float

    def require(self, file: str, network: str) -> None:
        """Refuse to train a network that is mostly fresh under the name of a pretrained one.

        Raises:
            ValueError: when less than half of the backbone was filled.
        """
        if self.share < _LEAST_SHARE:
            raise ValueError(
                f"{file!r} does not fit {network}: {self} Choose the network that these weights belong to."
            )

    def __str__(self) -> str:
        parts = [f"{len(self.fitted)} weights fitted by {self.matched_by} ({self.share:.0%} of the backbone)"]
        for words, names in (
            ("of the classifier are fresh", self.fresh_head),
            ("are not in the file", self.missing),
            ("have another shape there", self.other_shape),
            ("of the file are unused", self.unused),
        ):
            if names:
                shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
                parts.append(f"{len(names)} {words} ({shown})")
        return "; ".join(parts) + "."


@dataclass(frozen=True)
class WeightsSource:
    """Where a model's weights came from before training.

    `kind` is `fresh`, `timm` (published weights), `hub`, `folder` or `file`; `name` is the last part of where, so
    that no path of a machine enters a record; `fresh_head` says whether the classifier starts anew.
    """

    kind: str
    name: str
    fresh_head: bool
    report: WeightsReport | None = None

    @property
    def pretrained(self) -> bool:
        """Whether anything was trained before."""
        return self.kind != "fresh"

    def to_dict(self) -> JsonObject:
        """For the run's record."""
        fitted = {"matched_by": self.report.matched_by, "share": self.report.share} if self.report else {}
        return {"kind": self.kind, "name": self.name, "fresh_head": self.fresh_head, **fitted}


def weights_source(model: nn.Module) -> WeightsSource | None:
    """Where the weights of a model of `create_model` came from; None for any other model."""
    source = getattr(model, "weights_source", None)
    return source if isinstance(source, WeightsSource) else None


def read_weights(file: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a `.safetensors`, `.pth`, `.pt`, `.bin` or `.ckpt` file by name; no code in it is ever run.

    Of a training program's checkpoint the model's part is taken, its averaged weights where it has some.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it holds no tensors, or something that is no tensor and could be code.
    """
    path = weights_file(file)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # timm's own training checkpoints hold the arguments in a Namespace, which is plain data
        with torch.serialization.safe_globals([argparse.Namespace]):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path.name!r} holds more than tensors, and loading that can run code. Write the weights alone where you "
            "trust it: torch.save(model.state_dict(), FILE)"
        ) from error
    except (
        SafetensorError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError
    ) as error:  # fmt: skip
        # a damaged file ends in each of these
        raise ValueError(f"{path.name!r} cannot be read as weights: {error}") from error
    weights = _weights_in(content)
    if weights is None:
        raise ValueError(
            f"{path.name!r} holds no weights by name. Write torch.save(model.state_dict(), FILE)."
        )
    return {str(name): value for name, value in weights.items() if isinstance(value, Tensor)}


def weights_file(file: str | os.PathLike[str]) -> Path:
    """The path of a file that begins as weights do.

    torch writes zip archives and pickles, safetensors a length and JSON.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when no program wrote it as weights.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no weights file {str(file)!r}. Give a .safetensors, .pth, .pt or .bin file."
        )
    with path.open("rb") as content:
        start = content.read(48)
    is_kind = start[8:9] == b"{" if path.suffix == ".safetensors" else start.startswith((b"PK", b"\x80"))
    if not is_kind:
        raise ValueError(
            f"{path.name!r} cannot be read as weights: it is no {path.suffix} file, as it begins with {start!r}. A web "
            "page or a pointer of git-lfs may have been saved in its place; download it again."
        )
    return path


def _weights_in(content: Any, depth: int = 8) -> Mapping[Any, Any] | None:
    """The model's part of a checkpoint, below which no other holds tensors; tensors beside it are figures."""
    if not isinstance(content, Mapping) or not depth:
        return None
    for key in _NESTED:
        if (found := _weights_in(content.get(key), depth - 1)) is not None:
            return found
    return content if any(isinstance(value, Tensor) for value in content.values()) else None


def load_weights(model: nn.Module, file: str | os.PathLike[str]) -> WeightsReport:
    """Put the weights of a file into a network of any library, and report what fitted.

    Names are matched first, less a prefix that wrappers or training programs add, then as timm converts the names
    of other publishers of the same network. Where that leaves weights over and both lists of weights agree in number,
    shape, last word of the name and order, they are matched in order: so does `tf_efficientnet_lite0` take weights
    that another implementation named. A classifier of another size stays fresh; a first convolution of other input
    channels is adapted as timm does.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when less than half of the network would be filled, or the file is no weights file.
    """
    weights, name = read_weights(file), Path(file).name
    network: nn.Module = getattr(model, "timm_model", model)
    head = head_parameter_names(network)
    target = network.state_dict()
    candidates = [("names", found) for found in _without_prefixes(weights)]
    candidates += [("timm's names", found) for found in _converted(weights, network)]
    candidates += [("order", found) for found in _in_order(weights, target, head)]
    fitting = [(how, found, _fitting(found, target, network)) for how, found in candidates]
    how, found, fitted = max(fitting, key=lambda entry: _size(entry[2], head))
    share = _size(fitted, head) / max(1, _size(target, head))
    report = WeightsReport(
        matched_by=how,
        fitted=tuple(fitted),
        fresh_head=tuple(sorted(head - set(fitted))),
        missing=tuple(n for n in target if n not in found and n not in head and not n.endswith(_COUNTER)),
        other_shape=tuple(n for n in target if n in found and n not in fitted and n not in head),
        unused=tuple(n for n in found if n not in target),
        share=share,
    )
    report.require(name, type(network).__name__)
    network.load_state_dict(fitted, strict=False)
    return report


def _size(weights: Mapping[str, Tensor], head: Iterable[str]) -> int:
    return sum(
        value.numel() for name, value in weights.items() if name not in head and not name.endswith(_COUNTER)
    )


def _without_prefixes(weights: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """As they are, and less each of the commonest first words, or first two words, of the names."""
    words = [name.split(".") for name in weights]
    counts = Counter(
        ".".join(parts[:depth]) + "." for parts in words for depth in (1, 2) if len(parts) > depth
    )
    prefixes = ["", *(prefix for prefix, _ in counts.most_common(4))]
    return [{name.removeprefix(prefix): value for name, value in weights.items()} for prefix in prefixes]


def _converted(weights: dict[str, Tensor], network: nn.Module) -> list[dict[str, Tensor]]:
    """As timm itself converts other publishers' names for this network, where it can."""
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return []
    try:
        result = convert(dict(weights), network)
    except (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError):
        return []  # made for other names than these
    return [{name: value for name, value in result.items() if isinstance(value, Tensor)}]


def _in_order(
    weights: dict[str, Tensor], target: Mapping[str, Tensor], head: frozenset[str]
) -> list[dict[str, Tensor]]:
    """Matched one by one, where the two lists agree in all but the names."""
    theirs = [(name, value) for name, value in weights.items() if not name.endswith(_COUNTER)]
    ours = [(name, value) for name, value in target.items() if not name.endswith(_COUNTER)]
    agree = len(theirs) == len(ours) and all(
        their.rpartition(".")[2] == our.rpartition(".")[2] and (our in head or value.shape == wanted.shape)
        for (their, value), (our, wanted) in zip(theirs, ours, strict=False)
    )
    return [{our: value for (_, value), (our, _) in zip(theirs, ours, strict=True)}] if agree else []


def _fitting(
    found: Mapping[str, Tensor], target: Mapping[str, Tensor], network: nn.Module
) -> dict[str, Tensor]:
    """Those of the right shape, the first convolution adapted to the network's input channels."""
    cfg = getattr(network, "pretrained_cfg", None) or {}
    first = f"{cfg.get('first_conv')}.weight"
    result = {}
    for name, wanted in target.items():
        value = found.get(name)
        if value is None:
            continue
        if name == first and value.ndim == 4 and value.shape[1] == 3 and wanted.shape[1] != 3:
            value = adapt_input_conv(wanted.shape[1], value)
        if value.shape == wanted.shape:
            result[name] = value
    return result
