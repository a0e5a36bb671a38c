"""Write a model so that transformers, `pipeline` and timm load it bit-equal."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from jal_hf.ground.files import JsonObject, write_text
from jal_hf.models.timm_format import CONFIG, WEIGHTS, own_names, write_timm_model
from jal_hf.models.weights_file import write_weights


def export_model(
    model: nn.Module,
    folder: str | os.PathLike[str],
    *,
    state_dict: dict[str, Tensor] | None = None,
    keep_adapters: bool = False,
) -> None:
    """Write `config.json` and `model.safetensors` into `folder`.

    A timm network is written in timm's own format without `num_classes` among its arguments, the one form
    that `AutoModelForImageClassification`, `pipeline`, `timm.create_model("local-dir:...")` and
    `"hf-hub:..."` all load. The run's mean, std and size stand in its `pretrained_cfg`, for a timm model has
    no preprocessor file; a bare network of timm is wrapped by `as_run_model` first. Any other model of transformers
    is written by itself, beside a `preprocessor_config.json` where `create_model` knew the values. Of a module that
    neither library can build, config.json says the class, and how its weights are loaded again. Of a model of peft
    the network inside is written with the adapters merged, as it would be without peft; where they cannot be merged,
    as prompts cannot, peft's own files are written.

    Each file is written under another name and then renamed, so a crash leaves the former file whole.

    Args:
        model: any network; the wrappers of `torch.compile` and data-parallel training are looked through.
        folder: created when absent.
        state_dict: weights gathered elsewhere (sharded training), names as in `model.state_dict()`.
        keep_adapters: write LoRA's adapters apart, for training to go on; only a model with the same adapters can
            load them. Else they are merged into a copy of the weights.

    Raises:
        TypeError: when `model` is no module of torch.
    """
    from transformers import PreTrainedModel, TimmWrapperForImageClassification

    from jal_hf.models.lora import has_lora, is_peft_model, merge_lora, merged_copy
    from jal_hf.models.run_model import as_run_model

    if not isinstance(model, nn.Module):
        raise TypeError(f"export_model takes a torch.nn.Module, got {type(model).__name__}.")
    model = unwrapped(model)
    if is_peft_model(model):
        merged = None if keep_adapters else merged_copy(model, state_dict)
        if merged is None:
            whole: Any = model
            whole.save_pretrained(str(folder), state_dict=state_dict)
            return
        model, state_dict = merged, None
    model = as_run_model(model)
    if has_lora(model) and not keep_adapters:
        model = copy.deepcopy(model)
        if state_dict:
            model.load_state_dict(state_dict)
        model, state_dict = merge_lora(model), None
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, TimmWrapperForImageClassification):
        write_timm_model(model, folder, state_dict)
        return
    if isinstance(model, PreTrainedModel):
        from jal_hf.models.transformers_models import save_transformers_model

        save_transformers_model(model, folder, state_dict)
        return
    write_weights(own_names(state_dict or model.state_dict(), model), folder / WEIGHTS)
    write_text(folder / CONFIG, json.dumps(plain_config(model), indent=2) + "\n")


def plain_config(model: nn.Module) -> JsonObject:
    """The content of config.json for a module that only its own code can build."""
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    return {
        "library_name": "torch",
        "class": kind,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "load_with": f"model = {kind}(...); jal_hf.models.load_weights(model, 'FOLDER/{WEIGHTS}')",
    }


def unwrapped(model: Any) -> Any:
    """The network inside the wrappers of `torch.compile`, data-parallel training and DeepSpeed."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and type(model).__module__.startswith(("torch.", "deepspeed.", "accelerate.")):
            inner = getattr(model, "module", None)
        if inner is None:
            return model
        model = inner
