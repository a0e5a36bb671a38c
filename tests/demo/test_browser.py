"""Every tab of the page in a real browser: nothing is asked of other machines, and no name becomes script."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.demo.conftest import HOSTILE

TABS = ["Classify", "Suspects", "Training", "Noise", "Losses"]
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def address(run: Path) -> Iterator[str]:
    pytest.importorskip("gradio", reason="gradio is not installed: pip install 'jal_hf[demo]'")
    from jal_hf.runs.demo import serve

    page, address = serve(run)
    yield address
    page.close()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no chromium is installed")
    with driver.sync_playwright() as started:
        browser = started.chromium.launch_persistent_context(
            str(tmp_path / "profile"), executable_path=executable, headless=True, args=FLAGS.split(),
            viewport={"width": 1280, "height": 900},
        )  # fmt: skip
        yield browser.new_page()
        browser.close()


def test_every_tab_works_and_asks_no_other_machine(
    opened: Any, address: str, image: Path, tmp_path: Path
) -> None:
    page, requests, failures = opened, [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(address)
    page.wait_for_selector("button[role=tab]")
    assert [tab.inner_text() for tab in page.query_selector_all("button[role=tab]")] == TABS

    page.set_input_files("input[type=file]", str(image))
    page.wait_for_selector("[data-testid=label-output-value], [data-testid=classification-output]")
    page.screenshot(path=tmp_path / "classify.png")

    page.click("button[role=tab]:has-text('Suspects')")
    page.wait_for_selector(".thumbnail-item img")
    assert page.locator(".thumbnail-item").count() > 20
    page.click(".thumbnail-item >> nth=2")
    page.wait_for_selector("text=suggested label")
    page.screenshot(path=tmp_path / "suspects.png")

    for tab, least in (("Training", 2), ("Noise", 1)):
        page.click(f"button[role=tab]:has-text('{tab}')")
        page.wait_for_timeout(1000)
        shown = [picture for picture in page.query_selector_all("img") if picture.is_visible()]
        assert len(shown) >= least
        assert all(picture.evaluate("it => it.naturalWidth") > 400 for picture in shown)
        page.screenshot(path=tmp_path / f"{tab}.png")

    page.click("button[role=tab]:has-text('Losses')")
    picture = page.locator("#loss-curves img")
    before = picture.get_attribute("src")
    slider = page.locator("input[type=range]:visible").first
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    slider.dispatch_event("pointerup")
    page.wait_for_function("([it, was]) => it.src !== was", arg=[picture.element_handle(), before])
    page.screenshot(path=tmp_path / "losses.png")

    assert page.title() != "owned"
    assert HOSTILE[:30] in page.title()
    assert failures == []
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
