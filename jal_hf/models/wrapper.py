"""A timm network as a transformers model that saves itself in the format both libraries load."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

from jal_hf.ground.files import JsonObject
from jal_hf.models.timm_format import write_timm_model


class RunTimmModel(TimmWrapperForImageClassification):  # type: ignore[no-untyped-call]
    """`TimmWrapperForImageClassification` whose `save_pretrained` writes timm's own format.

    The stock one prefixes every weight's name, which timm then fails to find. Since the Trainer saves through
    `save_pretrained`, every checkpoint of a run loads in transformers, `pipeline` and timm alike.
    """

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: dict[str, Tensor] | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Write config.json and model.safetensors into `save_directory`; `state_dict` replaces the model's
        own.

        Only the main process writes. Arguments of the stock method about sharding have no bearing on one
        file.

        Raises:
            ValueError: when asked to push; `jal-hf push` and `trainer.push_to_hub()` do that with the card.
        """
        if push_to_hub:
            raise ValueError(
                "save_pretrained(push_to_hub=True) would push a checkpoint without its card. "
                "Save first, then run: jal-hf push FOLDER NAME/REPO"
            )
        if is_main_process:
            write_timm_model(self, save_directory, state_dict)


def wrap_timm(network: nn.Module, *, class_names: list[str], model_args: Mapping[str, Any]) -> RunTimmModel:
    """Put a ready timm network, weights untouched, inside a transformers model.

    Built on the meta device first, as the wrapper's own initialisation would overwrite timm's weights.

    Args:
        network: what `timm.create_model` returned; its `pretrained_cfg` says how images are prepared.
        class_names: one name a class.
        model_args: keyword arguments that rebuild the network, `num_classes` aside.
    """
    cfg: JsonObject = dict(network.pretrained_cfg)  # type: ignore[arg-type]
    settings: JsonObject = {
        "architecture": cfg["architecture"],
        "model_args": model_args,
        "pretrained_cfg": {key: value for key, value in cfg.items() if key not in _NOT_SAVED},
        "num_labels": len(class_names),
        "id2label": dict(enumerate(class_names)),
        "label2id": {name: label for label, name in enumerate(class_names)},
    }
    config = TimmWrapperConfig(**settings)
    with torch.device("meta"):
        model = RunTimmModel(config)
    model.timm_model = network
    return model


# Where weights once came from says nothing about the weights there are now.
_NOT_SAVED = frozenset(
    {
        "architecture", "num_classes", "label_names", "label_descriptions", "label_offset", "state_dict",
        "url", "file", "hf_hub_id", "hf_hub_filename", "source",
    }
)  # fmt: skip
