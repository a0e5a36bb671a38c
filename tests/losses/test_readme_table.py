"""The README's table of losses is the registry's."""

from __future__ import annotations

from pathlib import Path

import pytest

from jal_hf.losses import list_losses, markdown_table

README = Path(__file__).resolve().parents[2] / "README.md"


def test_readme_table_is_generated_from_the_registry() -> None:
    text = README.read_text(encoding="utf-8")
    if "<!-- losses:start -->" not in text:
        pytest.skip("README.md has no table of losses yet")
    table = text.split("<!-- losses:start -->")[1].split("<!-- losses:end -->")[0].strip()
    assert table == markdown_table(), "stale: put jal_hf.losses.markdown_table() between the markers"


def test_table_names_every_loss() -> None:
    table = markdown_table()
    assert all(f"| `{name}` |" in table for name in [*list_losses(), "lt-apl"])
