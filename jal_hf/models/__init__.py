"""Networks of the papers, registered in timm, and `create_model`, which wraps any timm network for
transformers.

Names are loaded on first use: registering the networks needs timm alone, building one needs transformers too.
"""

from __future__ import annotations

from jal_hf._lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "create_model": ".create",
        "default_in_chans": ".create",
        "is_own_network": ".timm_networks",
        "as_run_model": ".run_model",
        "load_weights": ".pretrained",
        "weights_source": ".pretrained",
        "start_head": ".head",
        "freeze": ".freezing",
        "freeze_batch_norm": ".freezing",
        "unfreeze_batch_norm": ".freezing",
        "parameter_groups": ".parameter_groups",
        "extract_features": ".features",
        "add_lora": ".lora",
        "merge_lora": ".lora",
        "export_onnx": ".exchange",
        "export_torchscript": ".exchange",
        "savable_weights": ".weights_file",
        "RunTimmModel": ".wrapper",
        "export_model": ".export",
        "register_networks": ".registration",
    },
)
