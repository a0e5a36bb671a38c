"""README and documentation: nothing stale, no dead links, no figure typed by hand; the site builds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from jal_hf.losses import list_losses, markdown_table
from jal_hf.noise import list_noises
from jal_hf.runs import list_recipes
from jal_hf.training.methods import list_methods
from tests.docs.generated_parts import generated

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "examples" / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
# Accuracies are written so; versions, shapes, rates and settings are not.
TYPED_FIGURE = re.compile(r"\b\d\d\.\d\d\b(?!\.)")
GENERATED = re.compile(
    r"<!-- ([\w-]+):start -->.*?<!-- \1:end -->|<!-- record .*?<!-- /record -->", re.DOTALL
)
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`|\$\$.*?\$\$", re.MULTILINE | re.DOTALL)


def test_readme_is_read_in_a_minute() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_readme_keeps_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert "pip install . && jal-hf train" in lines
    assert 'pip install -e ".[test]" && python -m pytest' in lines


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_generated_parts_are_those_of_registries_and_records(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert generated().fill(text) == text, "stale: run python examples/docs/generated.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page_holds_no_figure_typed_by_hand(page: Path) -> None:
    prose = CODE.sub("", GENERATED.sub("", page.read_text(encoding="utf-8")))
    assert TYPED_FIGURE.findall(prose) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_and_pictures_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", page.read_text(encoding="utf-8")))
    local = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []
    if page.parent == DOCS.parent.parent:
        assert not [target for target in local if target.startswith(("/", ".."))]


def test_tables_name_everything_registered() -> None:
    wanted = {
        markdown_table(): [*list_losses(), "lt-apl"],
        generated().methods_table(): list_methods(),
        generated().recipes_table(): list_recipes(),
    }
    for table, names in wanted.items():
        assert all(f"| `{name}` |" in table for name in names)
    assert all(f"| `{kind}" in generated().noises_table() for kind in list_noises())


def test_published_site_opens_the_notebooks_on_colab(monkeypatch: pytest.MonkeyPatch) -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    monkeypatch.setenv("GITHUB_REPOSITORY", "somebody/fork")
    site = generated().fill(index, site=True)
    names = [path.name for path in sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))]
    assert len(names) == 4
    for name in names:
        assert f"](../notebooks/{name})" in index
        assert f"/github/somebody/fork/blob/main/examples/notebooks/{name})" in site
    monkeypatch.delenv("GITHUB_REPOSITORY")
    assert "colab" not in generated().fill(index, site=True)


def test_unknown_marker_is_an_error() -> None:
    with pytest.raises(KeyError, match="nothing"):
        generated().fill("<!-- nothing:start -->\n<!-- nothing:end -->")


def test_guarantees_name_tests_that_exist() -> None:
    text = (DOCS / "guarantees.md").read_text(encoding="utf-8")
    places = set(re.findall(r"`(tests/[\w/]+)`", text))
    assert len(places) > 5
    assert [place for place in places if not any((ROOT / place).glob("test_*.py"))] == []


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {DOCS / "index.md"}
    for index in (DOCS / "index.md", DOCS / "api" / "index.md"):
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```$", index.read_text(), re.MULTILINE | re.DOTALL):
            lines = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed |= {index.parent / f"{line}.md" for line in lines}
    assert set(DOCS.rglob("*.md")) == listed


@pytest.mark.slow
def test_theory_figures_of_the_pages_are_drawn_by_their_command(tmp_path: Path) -> None:
    words = [sys.executable, str(ROOT / "examples" / "theory_figures.py"), "--out", str(tmp_path)]
    subprocess.run(words, check=True, capture_output=True)
    assert {path.name for path in (DOCS / "pictures").glob("*.png")} == {
        path.name for path in tmp_path.glob("*.png")
    }


@pytest.mark.timeout(900)
def test_site_builds_without_a_warning_and_without_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("myst_parser", "furo"):
        pytest.importorskip(name, reason="the documentation needs pip install 'jal_hf[docs]'")
    build = pytest.importorskip(
        "sphinx.cmd.build", reason="the documentation needs pip install 'jal_hf[docs]'"
    )
    monkeypatch.setattr(sys, "path", list(sys.path))
    site = tmp_path / "site"
    words = ["-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "trees"), str(DOCS), str(site)]
    assert build.build_main(words) == 0, capsys.readouterr().err[-4000:]
    assert "--help-all" in (site / "reference" / "commands.html").read_text(encoding="utf-8")
    losses = (site / "api" / "losses.html").read_text(encoding="utf-8")
    assert 'id="jal_hf.losses.create_loss"' in losses


def test_readme_renders_on_the_package_index() -> None:
    pytest.importorskip("cmarkgfm", reason="twine's renderer is not installed")
    renderer = pytest.importorskip("readme_renderer.markdown", reason="twine's renderer is not installed")
    shown = renderer.render((ROOT / "README.md").read_text(encoding="utf-8"))
    assert shown is not None
    assert "Two commands" in shown
