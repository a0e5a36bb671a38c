"""Sharing on the Hub: cards of models and noisy datasets, and pushes that carry them.

Names are loaded on first use, so that one command does not pay for another's imports.
"""

from __future__ import annotations

from jal_hf._lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "HubCallback": ".callback",
        "PushError": ".transfer",
        "add_comparisons": ".comparison",
        "check_hub_access": ".access",
        "export_model": "jal_hf.models.export",
        "push_run": ".push",
        "repository_name": ".validation",
        "render_dataset_card": ".noisy_dataset",
        "render_model_card": ".model_card",
        "validate_card": ".validation",
        "validate_hub_settings": ".validation",
        "write_card": ".model_card",
    },
)
