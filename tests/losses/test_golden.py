"""Every number the papers' public codes print, in double precision: value and gradient."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from jal_hf.losses import create_loss

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())


def _name(record: dict[str, Any]) -> str:
    params = ",".join(f"{key}={value}" for key, value in (record["params"] or {}).items())
    return f"{record['loss']}({params})-case{record['case']}"


@pytest.mark.parametrize("record", GOLDEN["records"], ids=_name)
def test_loss_agrees_with_published_code_in_value_and_gradient(record: dict[str, Any]) -> None:
    case = GOLDEN["cases"][record["case"]]
    logits = torch.tensor(case["logits"], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor(case["labels"])
    loss = create_loss(record["loss"], **(record["params"] or {}))
    value = loss(logits, labels)
    value.backward()
    expected = torch.tensor(record["grad"], dtype=torch.float64)
    assert value.item() == pytest.approx(record["value"], rel=1e-9)
    torch.testing.assert_close(logits.grad, expected, rtol=1e-8, atol=1e-8 * float(expected.abs().max()))
