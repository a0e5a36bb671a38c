"""A loss that says its own conditions is known to the theory, to `auto` and to advice, in no other file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from torch import Tensor

from jal_hf.losses import JointLoss, RobustLoss, create_loss, register_loss, registry
from jal_hf.losses.conditions import Lead
from jal_hf.losses.scores import Scores
from jal_hf.theory import asymmetry_ratio, is_asymmetric, minimum_a


@pytest.fixture
def shifted() -> Iterator[type[RobustLoss]]:
    kept = dict(registry._REGISTRY)

    @register_loss("shifted", summary="-", formula="-log(a + p_y)", citation="-", asymmetric=True)
    class Shifted(RobustLoss):
        least_chosen_a = 0.25

        def __init__(self, a: float = 1.0, **common: Any) -> None:
            super().__init__(**common)
            self.a = a

        def equation(self, scores: Scores) -> Tensor:
            return -(self.a + scores.label_p).log()

        def asymmetry_ratio(self) -> float:
            return self.a / (self.a + 1.0)

        def smallest_a(self, lead: Lead) -> float:
            return lead.next / (lead.top - lead.next)

    yield Shifted
    registry._REGISTRY.clear()
    registry._REGISTRY.update(kept)


def test_new_loss_brings_its_own_theory(shifted: type[RobustLoss]) -> None:
    loss = create_loss("shifted", a=3.0)
    assert loss.name == "shifted"
    assert asymmetry_ratio(loss) == (0.75, 0.75)
    assert is_asymmetric(loss, [0.5, 0.3, 0.2])
    assert not is_asymmetric(create_loss("shifted", a=1.4), [0.5, 0.3, 0.2])
    assert minimum_a([0.5, 0.3, 0.2], loss="shifted") == pytest.approx(1.5)
    assert minimum_a([0.5, 0.3, 0.2], loss=JointLoss("nce", "shifted")) == pytest.approx(1.5)
    assert create_loss("shifted", preset="auto", num_classes=10, noise=0.1).hyperparameters()["a"] == 0.25
    assert "shifted" in str(create_loss("shifted", preset="auto", num_classes=10).preset_reason)


def test_loss_without_such_an_a_is_refused() -> None:
    with pytest.raises(ValueError, match="gce has no parameter a"):
        minimum_a(0.4, 10, loss="gce")
