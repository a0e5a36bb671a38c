"""Networks of timm's registry: names, defaults, construction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from torch import nn

from jal_hf.ground.files import JsonObject
from jal_hf.ground.sentences import did_you_mean
from jal_hf.models import networks


def default_preprocessing(name: str) -> JsonObject:
    """timm's `pretrained_cfg` of a network: input_size (C, H, W), mean, std and more."""
    cfg: JsonObject = _registered_cfg(name).to_dict()
    return cfg


def is_own_network(architecture: str) -> bool:
    """Whether a timm name, with or without its tag, is that of one of the papers' networks registered here."""
    return architecture.partition(".")[0] in networks.__all__


def check_timm_name(name: str, pretrained: bool) -> None:
    """Refuse a name that timm lacks, or published weights that there are not.

    Raises:
        ValueError: with the nearest names.
    """
    _check_name(name)
    if pretrained and not _registered_cfg(name).has_weights:
        raise ValueError(
            f"There are no published weights for {name!r}; leave pretrained out to train it from scratch."
        )


def _check_name(name: str) -> None:
    if timm.is_model(name) and (
        ("." not in name) or name in timm.list_models(f"{name.split('.')[0]}.*", pretrained=True)
    ):
        return
    if Path(name).exists():
        raise ValueError(
            f"{name!r} is a path without a config.json, so no checkpoint. Give the folder of a saved model."
        )
    if "/" in name:  # no name of timm has one
        raise ValueError(
            f"There is no folder {name!r} with a saved model. A repository of the Hub is named hf-hub:OWNER/REPO."
        )
    known = [*timm.list_models(), *timm.list_models(pretrained=True)]
    hint = did_you_mean(name, known, most=3)
    raise ValueError(
        f"No network is called {name!r}.{hint} Allowed are the {len(timm.list_models())} names of "
        "timm.list_models(), "
        "hf-hub:OWNER/REPO, local-dir:FOLDER and transformers:FOLDER_OR_REPO."
    )


def _registered_cfg(name: str) -> Any:
    return timm.get_pretrained_cfg(name, allow_unregistered=False)


def build_timm_network(
    name: str, pretrained: bool, num_labels: int, model_args: Mapping[str, Any]
) -> nn.Module:
    """`timm.create_model`, its failures told in a sentence.

    Raises:
        ValueError: when the network does not take the arguments.
        FileNotFoundError: when the weights are not to be had.
    """
    try:
        network: nn.Module = timm.create_model(
            name, pretrained=pretrained, num_classes=num_labels, **model_args
        )
    except TypeError as error:
        raise ValueError(f"{name!r} does not take these arguments: {error}.") from error
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ValueError(f"{name!r} cannot be built with {model_args}: {error}") from error
    except OSError as error:
        raise FileNotFoundError(
            f"The pretrained weights of {name!r} are neither in the cache nor reachable "
            f"({type(error).__name__}). "
            "Connect to the Hub once, or leave pretrained out."
        ) from error
    return network
