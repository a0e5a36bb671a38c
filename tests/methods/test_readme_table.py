"""The README's table of training methods is the registry's."""

from __future__ import annotations

from pathlib import Path

from jal_hf.training.methods.table import markdown_table

README = Path(__file__).resolve().parents[2] / "README.md"


def test_readme_table_is_generated_from_the_registry() -> None:
    text = README.read_text(encoding="utf-8")
    table = text.split("<!-- methods:start -->")[1].split("<!-- methods:end -->")[0].strip()
    assert table == markdown_table(), (
        "stale: put jal_hf.training.methods.table.markdown_table() between the markers"
    )
