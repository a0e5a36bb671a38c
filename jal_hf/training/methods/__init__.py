"""Training methods: what is done around the loss, composable with any of them."""

from __future__ import annotations

from jal_hf.training.methods.method import Method, StepView
from jal_hf.training.methods.registry import (
    MethodInfo,
    create_method,
    list_methods,
    method_info,
    register_method,
)

__all__ = [
    "Method",
    "MethodInfo",
    "StepView",
    "create_method",
    "list_methods",
    "method_info",
    "register_method",
]
