"""See and decide: plots, the audit of labels, advice on losses, the search for their parameters.

Names load on first use, so that a plot does not wait for transformers or cleanlab.
"""

from __future__ import annotations

from jal_hf._lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Advice": ".advice",
        "Audit": ".audit",
        "LabelIssues": ".label_issues",
        "advise": ".advice",
        "audit_run": ".audit",
        "confidence_histogram": ".histograms",
        "estimate_noise": ".simple_model",
        "find_label_issues": ".label_issues",
        "plot_confidence_histogram": ".histograms",
        "plot_curves": ".curves",
        "plot_gradient_magnitude": ".gradients",
        "plot_run": ".run_plots",
        "plot_run_embedding": ".embedding",
        "plot_runs": ".run_plots",
        "plot_transition_matrix": ".matrices",
        "render_report": ".report_page",
        "report_plots": ".reporting",
    },
)
