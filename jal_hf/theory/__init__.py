"""When a loss tolerates noise: asymmetry, the smallest safe a, the numeric minimiser, calibration."""

from __future__ import annotations

from jal_hf.losses.conditions import Verdict
from jal_hf.theory.calibration import calibration_curves, excess_risk_bound
from jal_hf.theory.condition import is_asymmetric, minimum_a, row_verdict
from jal_hf.theory.minimum import minimizer
from jal_hf.theory.ratio import asymmetry_ratio, closed_ratio, numeric_ratio

__all__ = [
    "Verdict",
    "asymmetry_ratio",
    "calibration_curves",
    "closed_ratio",
    "excess_risk_bound",
    "is_asymmetric",
    "minimizer",
    "minimum_a",
    "numeric_ratio",
    "row_verdict",
]
