"""See and decide: plots, the audit of labels, advice on losses, the search for their parameters.

Names load on first use, so that a plot does not wait for transformers or cleanlab.
"""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "Advice": "advice",
    "Audit": "audit",
    "LabelIssues": "label_issues",
    "advise": "advice",
    "audit_run": "audit",
    "confidence_histogram": "histograms",
    "estimate_noise": "simple_model",
    "find_label_issues": "label_issues",
    "plot_confidence_histogram": "histograms",
    "plot_curves": "curves",
    "plot_gradient_magnitude": "gradients",
    "plot_run": "run_plots",
    "plot_run_embedding": "embedding",
    "plot_runs": "run_plots",
    "plot_transition_matrix": "matrices",
    "render_report": "report_page",
    "report_plots": "reporting",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        value = getattr(importlib.import_module(f"jal_hf.analysis.{_EXPORTS[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'jal_hf.analysis' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
