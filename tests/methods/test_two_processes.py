"""Two processes train with a method as one does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.distributed.launch import two_processes
from tests.distributed.ports import free_port
from tests.methods import scenarios

pytestmark = pytest.mark.timeout(600)  # the launch is quick on a free machine


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("two")
    launched = two_processes("tests.methods.scenarios", str(folder), port=free_port())
    output, _ = launched.communicate(timeout=560)
    assert launched.returncode == 0, output[-4000:]
    return load_file(folder / "tensors.safetensors")


@pytest.mark.parametrize("method", scenarios.METHODS)
def test_two_processes_give_what_one_gives(
    method: str, both: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    _, alone = scenarios.trained(tmp_path, 1, method)
    found = {
        name.removeprefix(f"{method}/"): value for name, value in both.items() if name.startswith(method)
    }
    assert set(found) == set(alone)
    for name, value in alone.items():
        # The row tables are kept in half precision, the running class mean in single.
        tolerance = 1e-3 if "rows" in name else 1e-5
        torch.testing.assert_close(
            found[name].double(), value.double(), rtol=tolerance, atol=tolerance, msg=name
        )


def test_both_processes_evaluate_the_averaged_network_that_the_first_one_exports(
    both: dict[str, torch.Tensor],
) -> None:
    # Each process has batch-norm statistics of its own share, and so an average of its own.
    torch.testing.assert_close(both["predicted"], both["exported"])
