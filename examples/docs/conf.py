"""Sphinx settings of the documentation.

python -m sphinx -W -b html examples/docs site
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent.parent)]

import generated  # noqa: E402

import jal_hf  # noqa: E402

project = "jal_hf"
author = "The jal_hf authors"
project_copyright = author
version = release = jal_hf.__version__
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "generated.py"]
html_theme = "furo"
html_title = "jal_hf"
html_show_sourcelink = False
html_static_path = ["static"]
html_css_files = ["output.css"]

myst_enable_extensions = ["attrs_block"]
myst_heading_anchors = 3

# Docstrings are Markdown-flavoured: `name` is code.
default_role = "code"
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_use_ivar = True
napoleon_custom_sections = [
    ("Formula", "params_style"), "Properties", "Shape", "Provenance", "Reference", "State", "Cost",
]  # fmt: skip
nitpicky = True
# Names of other projects are not looked up, for the build needs no network; inner modules have no page.
nitpick_ignore_regex = [(r"py:.*", r"(?!jal_hf).*"), (r"py:.*", r"jal_hf(\.\w+){3,}")]


def fill_generated(app: Any, name: str, content: list[str]) -> None:
    """Put the tables of the registries and the figures of the records into a page; outputs look like outputs."""
    content[0] = re.sub(
        r"^<!-- output\b.*-->$", "{.output}", generated.fill(content[0], site=True), flags=re.M
    )


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", fill_generated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
