"""See and decide: plots, the audit of labels, and advice on losses."""

from __future__ import annotations

from jal_hf.analysis.curves import plot_curves
from jal_hf.analysis.histograms import confidence_histogram, plot_confidence_histogram
from jal_hf.analysis.label_issues import LabelIssues, find_label_issues
from jal_hf.analysis.matrices import plot_transition_matrix
from jal_hf.analysis.report_page import render_report
from jal_hf.analysis.run_plots import plot_run

__all__ = [
    "LabelIssues",
    "confidence_histogram",
    "find_label_issues",
    "plot_confidence_histogram",
    "plot_curves",
    "plot_run",
    "plot_transition_matrix",
    "render_report",
]
