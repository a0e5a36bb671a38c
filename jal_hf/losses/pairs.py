"""The registered pairs alpha * active + beta * passive; each is a `JointLoss` under a name."""

from __future__ import annotations

from jal_hf.losses.base import LossConfig
from jal_hf.losses.citations import ALF, ANL, EPSILON_SOFTMAX, JAL, NORMALIZED, SCE
from jal_hf.losses.joint import JointLoss
from jal_hf.losses.registry import LossInfo, loss_info, register

REDUCED_MAE = {"scale": 1.0}
FULL_MAE = {"scale": 2.0}


def _pair(
    name: str,
    active: str,
    passive: str,
    summary: str,
    citation: str,
    *,
    fixed: LossConfig | None = None,
    **defaults: float,
) -> None:
    first, second = loss_info(active), loss_info(passive)
    formula = f"alpha {active.upper()} + beta {passive.upper()}"
    if fixed == REDUCED_MAE:
        formula += ", MAE = 1 - p_y"
    elif fixed == FULL_MAE:
        formula += ", MAE = 2 (1 - p_y)"
    register(
        LossInfo(
            name=name,
            cls=JointLoss,
            summary=summary,
            formula=formula,
            citation=citation,
            active=first.active or second.active,
            passive=first.passive or second.passive,
            symmetric=first.symmetric and second.symmetric,
            asymmetric=first.asymmetric and second.asymmetric,
            has_detached_factors=first.has_detached_factors or second.has_detached_factors,
            soft_targets=first.soft_targets and second.soft_targets,
            closed_form=first.closed_form and second.closed_form,
            parts=(active, passive),
            part_parameters=fixed or {},
            default_parameters={"alpha": 1.0, "beta": 1.0, **defaults},
        )
    )


_pair("sce", "ce", "rce", "symmetric cross entropy: CE with its reverse", SCE, alpha=0.1)
for _short, _active in (("nce", "normalised cross entropy"), ("nfl", "normalised focal loss")):
    _pair(f"{_short}+rce", _short, "rce", f"{_active} with reverse cross entropy (APL)", NORMALIZED)
    _pair(
        f"{_short}+mae", _short, "mae", f"{_active} with absolute error (APL)", NORMALIZED, fixed=REDUCED_MAE
    )
    _pair(f"{_short}+agce", _short, "agce", f"{_active} with AGCE", ALF, beta=4.0, a=6.0, q=1.5)
    _pair(f"{_short}+aul", _short, "aul", f"{_active} with AUL", ALF, beta=4.0, a=6.3, p=1.5)
    _pair(f"{_short}+ael", _short, "ael", f"{_active} with AEL", ALF, beta=4.0, a=5.0)
_pair("jal-ce", "nce", "amse", "Joint Asymmetric Loss on cross entropy", JAL)
_pair("jal-fl", "nfl", "amse", "Joint Asymmetric Loss on the focal loss", JAL)
_pair(
    "anl-ce",
    "nce",
    "nnce",
    "Active Negative Loss on cross entropy, trained with L1 decay",
    ANL,
    alpha=5.0,
    beta=5.0,
)
_pair(
    "anl-fl",
    "nfl",
    "nnfl",
    "Active Negative Loss on the focal loss, trained with L1 decay",
    ANL,
    alpha=5.0,
    beta=5.0,
)
_pair(
    "ece+mae",
    "ece",
    "mae",
    "cross entropy of the epsilon-softmax with absolute error",
    EPSILON_SOFTMAX,
    fixed=FULL_MAE,
    alpha=0.01,
    beta=5.0,
    m=1e5,
)
_pair(
    "efl+mae",
    "efl",
    "mae",
    "focal loss of the epsilon-softmax with absolute error",
    EPSILON_SOFTMAX,
    fixed=FULL_MAE,
    alpha=0.01,
    beta=5.0,
    m=1e5,
    gamma=0.1,
)
register(
    LossInfo(
        name="lt-apl",
        cls=None,
        summary="a row of the JAL paper's Table 3, reported there only",
        formula="not published under this name",
        citation=JAL,
        reported_only=True,
        reason="LT-APL appears only in the JAL paper's Table 3; no public code or formula was found under that "
        "name, and none is invented here.",
    )
)
