"""The audit page in a real browser: rows, filter, sort by click, no network; and what it may not contain."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jal_hf.analysis import LabelIssues, find_label_issues, render_report
from jal_hf.analysis.report_page import write_report
from jal_hf.analysis.thumbnails import thumbnail_uri, thumbnail_uris
from jal_hf.runs.audit.cleaning import DROPPED, KEEP, read_decisions

ROWS, CLASSES = 10_000, 10
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
NAMES = [HOSTILE, *(f"class {k}" for k in range(1, CLASSES))]


def make_issues(rows: int = ROWS, classes: int = CLASSES) -> LabelIssues:
    rng = np.random.default_rng(0)
    clean = rng.integers(0, classes, rows)
    given = np.where(rng.random(rows) < 0.4, rng.integers(0, classes, rows), clean)
    logits = rng.normal(size=(rows, classes)) + 4.0 * np.eye(classes)[clean]
    p = np.exp(logits)
    return find_label_issues(p / p.sum(axis=1, keepdims=True), given, clean)


def make_page(issues: LabelIssues, names: list[str] = NAMES, thumbnails: int = 2000) -> str:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (thumbnails, 8, 8), dtype=np.uint8)
    uris = thumbnail_uris(pictures, 2_000_000)
    return render_report(issues, names, title=HOSTILE, facts={"estimated rate": HOSTILE}, thumbnails=uris)


def test_page_holds_no_markup_from_class_names_title_or_facts() -> None:
    page = make_page(make_issues(200))
    assert "<script>document" not in page
    assert "<img" not in page
    assert "&lt;/script&gt;" in page
    # No address, and nothing that is loaded from one.
    assert not re.search(r"https?:|\b(src|href)\s*=\s*[\"']|url\(|@import", page.replace("<", " "))


def test_page_data_round_trips_and_lists_only_the_first_rows() -> None:
    issues = make_issues(200)
    page = render_report(issues, NAMES, title="t", facts={}, top=30)
    text = re.search(r'id="data">(.*?)</script>', page, re.S)
    assert text is not None
    data = json.loads(text.group(1))
    assert data["class_names"][0] == HOSTILE
    assert data["columns"]["index"] == issues.index[:30].tolist()
    assert np.asarray(data["confusion"]).sum() == 200
    assert "The 30 least believed of 200" in page


def test_page_refuses_class_names_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="2 class names were given for 10 classes"):
        render_report(make_issues(50), ["a", "b"], title="t", facts={})


def test_thumbnails_keep_small_images_and_shrink_large_ones() -> None:
    small, large = np.zeros((8, 8, 1), np.uint8), np.zeros((300, 200, 3), np.uint8)
    assert thumbnail_uri(small).startswith("data:image/png;base64,")
    assert thumbnail_uri(large).startswith("data:image/jpeg;base64,")
    length = len(thumbnail_uri(small))
    assert len(thumbnail_uris([small] * 10, 3 * length)) == 3


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no chromium is installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.mark.parametrize(("width", "classes"), [(400, 10), (400, 40), (900, 10)])
def test_page_is_no_wider_than_a_narrow_screen(
    width: int, classes: int, browser: Any, tmp_path: Path
) -> None:
    names = [HOSTILE, *(f"a_class_of_a_name_without_an_end_{k}" for k in range(1, classes))]
    issues = make_issues(60, classes)
    files = [f"folder/{'x' * 60}/{k}.png" for k in range(60)]
    page = browser.new_page(viewport={"width": width, "height": 800})
    text = render_report(issues, names, title=HOSTILE, facts={"a" * 30: HOSTILE}, note=HOSTILE, files=files)
    page.goto(write_report(tmp_path / "report.html", text).as_uri())
    assert page.locator("#body tr").count() == 50
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def first_column(page: Any, number: int) -> list[str]:
    return [cell.strip() for cell in page.locator(f"#body tr td:nth-child({number})").all_inner_texts()]


def test_page_works_in_the_browser_with_ten_thousand_rows(browser: Any, tmp_path: Path) -> None:
    issues = make_issues()
    path = write_report(tmp_path / "report.html", make_page(issues))
    page = browser.new_page()
    requests: list[str] = []
    failures: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
    page.goto(path.as_uri())

    assert page.locator("#body tr").count() == 50
    assert page.inner_text("#status") == "1 to 50 of 10000 examples"
    assert first_column(page, 2) == [str(rank) for rank in range(1, 51)]
    assert page.locator("#body tr img").count() == 50
    assert page.evaluate("document.querySelector('#body img').naturalWidth") == 8

    page.click("#next")
    assert first_column(page, 2)[0] == "51"
    page.click("#head-self_confidence button")
    assert page.get_attribute("#head-self_confidence", "aria-sort") == "ascending"
    page.click("#head-self_confidence button")
    assert page.get_attribute("#head-self_confidence", "aria-sort") == "descending"
    values = [float(text) for text in first_column(page, 6)]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(issues.self_confidence.max(), abs=1e-3)
    page.click("#head-given_label button")
    assert set(first_column(page, 4)) == {NAMES[0]}

    page.select_option("#given", label="class 3")
    matching = int((issues.given_label == 3).sum())
    assert page.inner_text("#status") == f"1 to 50 of {matching} examples"
    assert set(first_column(page, 4)) == {"class 3"}
    page.check("#differing")
    matching = int(((issues.given_label == 3) & (issues.suggested_label != 3)).sum())
    assert page.inner_text("#status").endswith(f"of {matching} examples")
    page.click("#clear")
    page.fill("#search", str(issues.index[1234]))
    assert first_column(page, 2) == ["1235"]
    page.click("#clear")

    page.click("#heat tbody tr:nth-child(3) td:nth-of-type(5) button")
    matching = int(((issues.given_label == 2) & (issues.suggested_label == 4)).sum())
    assert page.inner_text("#status").endswith(f"of {matching} examples")
    assert set(first_column(page, 5)) == {"class 4"}

    assert page.title() != "owned"
    assert failures == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    page.close()


def test_page_draws_a_canvas_when_there_are_many_classes(browser: Any, tmp_path: Path) -> None:
    issues = make_issues(3000, 100)
    path = write_report(
        tmp_path / "report.html", render_report(issues, [f"c{k}" for k in range(100)], title="t", facts={})
    )
    page = browser.new_page()
    page.goto(path.as_uri())
    page.click("#heat canvas", position={"x": 6 * 7 + 3, "y": 6 * 7 + 3})
    matching = int(((issues.given_label == 7) & (issues.suggested_label == 7)).sum())
    assert page.inner_text("#status").endswith(f"of {matching} examples")
    assert page.locator("#body tr img").count() == 0

    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    canvas = page.locator("#heat canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 0.5)
    assert "undefined" not in page.inner_text("#heat p")
    page.mouse.click(box["x"] + 0.5, box["y"] + 1 + 6 * 7 + 3)
    matching = int(((issues.given_label == 7) & (issues.suggested_label == 0)).sum())
    assert page.input_value("#suggested") == "0"
    assert page.inner_text("#status").endswith(f"of {matching} examples") or matching == 0
    assert failures == []
    page.close()


def test_long_names_push_no_column_off_the_page(browser: Any, tmp_path: Path) -> None:
    issues = make_issues(60, 25)
    words = "words and words and more words, " * 4
    names = [*(f"{words}{k}" for k in range(10)), *("x" * 110 + str(k) for k in range(15))]
    files = [f"train/{'a_long_name' * 9}/{row}.png" for row in range(60)]
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(
        write_report(
            tmp_path / "r.html", render_report(issues, names, title="t", facts={}, files=files)
        ).as_uri()
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.close()


def test_decisions_made_on_the_page_are_read_back(browser: Any, tmp_path: Path) -> None:
    issues = make_issues(200, 3)
    names = ["red", HOSTILE, "blue"]
    page = browser.new_page()
    page.goto(write_report(tmp_path / "report.html", make_page(issues, names, thumbnails=2)).as_uri())
    choices = page.locator("#body select")
    choices.nth(0).select_option(label=f"it is {names[issues.suggested_label[0]]} (suggested)")
    choices.nth(1).select_option("drop")
    choices.nth(2).select_option("keep")
    choices.nth(3).select_option("drop")
    choices.nth(3).select_option("")
    assert page.inner_text("#decided") == "3 decided, not saved yet"
    with page.expect_download() as saved:
        page.click("#save")
    saved.value.save_as(tmp_path / "decisions.json")
    assert read_decisions(tmp_path / "decisions.json", names) == {
        int(issues.index[0]): int(issues.suggested_label[0]),
        int(issues.index[1]): DROPPED,
        int(issues.index[2]): KEEP,
    }
    page.close()


def test_headings_stand_over_their_columns(browser: Any, tmp_path: Path) -> None:
    issues = make_issues(60, 3)
    page = browser.new_page()
    report = render_report(
        issues, ["a", "b", "c"], title="t", facts={}, files=[f"{row}.png" for row in range(60)]
    )
    page.goto(write_report(tmp_path / "report.html", report).as_uri())
    sides = "cells => [...cells].map(cell => getComputedStyle(cell).textAlign)"
    heads = page.eval_on_selector_all("#head th", sides)
    cells = page.eval_on_selector_all("#body tr:first-child td", sides)
    assert len(heads) > 6
    assert heads == cells
    page.close()
