"""What `jal-hf doctor` says of threads."""

from __future__ import annotations

import pytest

from jal_hf.cli.doctor import _threads


@pytest.mark.parametrize(
    ("used", "load", "trains_here", "follows"),
    [
        (2, 0.3, True, ""),
        (1, 0.3, True, "unset OMP_NUM_THREADS to use all 2 cores"),
        (2, 3.8, True, "OMP_NUM_THREADS=1 can be several times faster"),
        (1, 3.8, True, ""),
        (2, 3.8, False, ""),
        (1, 0.3, False, ""),
    ],
)
def test_threads_are_advised_by_the_load_of_the_machine(
    used: int, load: float, trains_here: bool, follows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    said = _threads(used, 2, trains_here=trains_here).follows
    assert follows in said
    assert bool(follows) == bool(said)
