"""The Triton kernels compile for an H100 or H200 without one at hand, which the interpreter cannot tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="Triton is not installed")

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from jal_hf.losses import triton_kernels
from jal_hf.losses.triton_terms import PULLED, SUMMED, SUMMED_AT_ONCE

TYPES = {"logits": "*bf16", "labels": "*i64", "losses": "*fp32", "gradient": "*bf16", "counted": "*fp32"}
TYPES |= {"stride": "i32", "rows": "i32", "ignore_index": "i32", "factor": "*fp32", "count": "i32"}
TYPES |= dict.fromkeys(("w1", "x1", "y1", "z1", "w2", "x2", "y2", "z2"), "fp32")
FLAGS = {
    "FIRST": "nfl",
    "SUM_FIRST": True,
    "SECOND": "square",
    "SUM_SECOND": True,
    "TOP": False,
    "ROOT": True,
}
FLAGS |= {"AVERAGED": True, "COUNTED_HERE": 0, "SWEEP": True}
KINDS = ("ce", "fl", "mae", "gce", "agce", "aul", "ael", "ece", "efl", *SUMMED)
LENGTHS = {"_short_rows": {"CLASSES": 100, "ALIGNED": 4, "ROWS": 8, "BLOCK": 128},
           "_long_rows": {"CLASSES": 32000, "ALIGNED": 16, "BLOCK": 8192}}  # fmt: skip


@pytest.mark.parametrize(
    ("kernel", "constants"),
    [
        ("_short_rows", {"CLASSES": 10, "ALIGNED": 2, "ROWS": 64, "BLOCK": 16, "COUNTED_HERE": 1024}),
        ("_short_rows", {"CLASSES": 1000, "ALIGNED": 8, "ROWS": 1, "BLOCK": 1024}),
        ("_long_rows", {"CLASSES": 32000, "ALIGNED": 16, "BLOCK": 8192}),
        ("_rescale", {"BLOCK": 8192}),
    ],
)
def test_kernel_compiles_and_reads_whole_vectors(
    kernel: str, constants: dict[str, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiled = _compiled(kernel, constants, monkeypatch, tmp_path)
    if constants.get("ALIGNED", 16) >= 8:
        assert "ld.global.v4.b32" in compiled.asm["ptx"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kernel", LENGTHS)
def test_kernel_compiles_with_every_kind_of_term(
    kind: str, kernel: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    summed = kind in SUMMED
    constants = {**LENGTHS[kernel], "FIRST": kind, "SUM_FIRST": summed, "SECOND": "none", "SUM_SECOND": False}
    constants |= {"TOP": kind in PULLED, "ROOT": False, "SWEEP": summed and kind not in SUMMED_AT_ONCE}
    compiled = _compiled(kernel, constants, monkeypatch, tmp_path)
    assert f".entry {kernel}" in compiled.asm["ptx"]


def _compiled(kernel: str, constants: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    function = getattr(triton_kernels, kernel)
    given: dict[str, Any] = {**FLAGS, **constants}
    signature = {name: TYPES.get(name, "constexpr") for name in function.arg_names}
    values = {name: given[name] for name, kind in signature.items() if kind == "constexpr"}
    # Buffers begin at multiples of 16 bytes, as torch's allocator gives them.
    aligned = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(function.arg_names)
        if TYPES.get(name, "").startswith("*") or name == "count"
    }
    compiled = compile(
        ASTSource(function, signature, values, aligned),
        target=GPUTarget("cuda", 90, 32),
        options={"num_warps": 4 if constants["BLOCK"] < 8192 else 16, "enable_fp_fusion": True},
    )
    assert compiled.asm["cubin"]
    return compiled
