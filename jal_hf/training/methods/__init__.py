"""Training methods: what is done around the loss, composable with any of them."""

from __future__ import annotations

from jal_hf.training.methods.method import Method
from jal_hf.training.methods.registry import (
    MethodInfo,
    combined,
    create_method,
    default_parameters,
    list_methods,
    method_info,
    method_names,
    parameters_for,
    register_method,
)
from jal_hf.training.methods.step_view import Setting, StepView

__all__ = [
    "Method",
    "MethodInfo",
    "Setting",
    "StepView",
    "combined",
    "create_method",
    "default_parameters",
    "list_methods",
    "method_info",
    "method_names",
    "parameters_for",
    "register_method",
]
