"""The audit as one HTML page that carries everything inside itself and opens offline."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from jal_hf.analysis.label_issues import LabelIssues
from jal_hf.ground.files import JsonObject, write_text

_REAL = frozenset({"self_confidence", "margin", "loss"})


def render_report(
    issues: LabelIssues,
    class_names: Sequence[str],
    *,
    title: str,
    facts: Mapping[str, str],
    thumbnails: Sequence[str] = (),
    files: Sequence[str] | None = None,
    has_pictures: bool = True,
    note: str = "",
    top: int = 10_000,
) -> str:
    """The page: facts, a confusion heat map of all examples, and the `top` suspects with filter and sort.

    `thumbnails` are data URIs of the first suspects in order of rank; the rest are listed without a picture. `files`
    are names of all in that order; without pictures they are the examples themselves, texts. A person's verdicts on
    the page are saved by it to a file of decisions.
    Class names, title and facts may hold any text: nothing of it is read as HTML or script.
    """
    classes = issues.estimate.joint.shape[0]
    if len(class_names) != classes:
        raise ValueError(
            f"{len(class_names)} class names were given for {classes} classes; give one a class."
        )
    columns = {name: _rounded(name, values[:top]) for name, values in issues.columns().items()}
    data = {
        "class_names": [str(name) for name in class_names],
        "columns": columns,
        # The estimate counts (suggested, given); a reader looks up the given label first.
        "confusion": issues.estimate.joint.T.astype(int).tolist(),
        "thumbnails": list(thumbnails[:top]),
        "has_pictures": has_pictures,
        "files": None if files is None else list(files[:top]),
    }
    total, listed = len(issues), len(columns["rank"])
    rows_text = (
        f"All {total} training examples, the least believed label first."
        if listed == total
        else f"The {listed} least believed of {total} training examples; label_issues.parquet holds all."
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string(
        resources.files("jal_hf.analysis").joinpath("report.html.jinja").read_text(encoding="utf-8")
    )
    return template.render(
        title=title,
        note=note,
        facts=list(facts.items()),
        rows_text=rows_text,
        total=total,
        data=_script_json(data),
    )


def write_report(path: str | Path, page: str) -> Path:
    """Write the page as UTF-8; returns its path."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, page)
    return target


def read_report(path: str | Path) -> JsonObject:
    """What a page of `render_report` lists: `class_names`, `columns`, `confusion`, `thumbnails`, `files`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such page.
    """
    found = re.search(r'id="data">(.*?)</script>', Path(path).read_text(encoding="utf-8"), re.DOTALL)
    content = json.loads(found.group(1)) if found else None
    if not isinstance(content, dict) or not isinstance(content.get("columns"), dict):
        raise ValueError(f"{path} is no page of an audit. Audit the run again with: jal-hf audit RUN")
    return content


def _rounded(name: str, values: np.ndarray[Any, Any]) -> list[Any]:
    if name not in _REAL:
        return list(values.tolist())
    # Six significant digits: a third of the page's size, and more than anyone reads.
    return [float(f"{value:.6g}") for value in values.tolist()]


def _script_json(data: Mapping[str, Any]) -> Markup:
    """JSON that may stand inside a script element: no `<`, so no class name can close the element."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
