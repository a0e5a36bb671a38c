"""The page as it is served: its functions by its own client, and what it does not serve."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jal_hf.ground.record import RunRecord
from jal_hf.runs.demo.answers import ALL
from jal_hf.runs.prediction import predict_images
from tests.demo.conftest import OWNED

pytest.importorskip("gradio", reason="gradio is not installed: pip install 'jal_hf[demo]'")


@pytest.fixture(scope="module")
def served(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    from jal_hf.runs.demo import serve

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        # What would share or move the page if it were asked.
        patch.setenv("GRADIO_SHARE", "True")
        patch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
        page, address = serve(run)
        yield page, address
        page.close()


@pytest.fixture(scope="module")
def client(served: tuple[Any, str]) -> Any:
    from gradio_client import Client

    return Client(served[1], verbose=False, analytics_enabled=False)


def test_page_classifies_as_predict_does(client: Any, run: Path, image: Path) -> None:
    from gradio_client import handle_file

    answer = client.predict(handle_file(str(image)), api_name="/classify")
    (expected,) = predict_images(run, [image])
    assert answer["label"] == expected["label"]
    assert answer["confidences"][0]["confidence"] == pytest.approx(expected["score"], abs=1e-6)
    assert len(answer["confidences"]) == 5


def test_page_says_in_a_sentence_that_a_file_is_no_image(client: Any, tmp_path: Path) -> None:
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 40)
    with pytest.raises((AppError, ValueError)) as caught:
        client.predict(handle_file(str(damaged)), api_name="/classify")
    assert "/" not in str(caught.value).replace("https://", "")


def test_page_shows_suspects_and_sliders_of_the_chosen_loss(client: Any) -> None:
    pictures = client.predict(ALL, api_name="/suspects")
    assert len(pictures) > 20
    assert all("→" in picture["caption"] for picture in pictures)
    *sliders, curves, said = client.predict("gce", api_name="/loss")
    assert [slider.get("label") for slider in sliders][:1] == ["q"]
    assert [slider["visible"] for slider in sliders] == [True, False, False, False, False]
    assert said["visible"] is False
    assert Path(curves).stat().st_size > 5000


def test_page_listens_here_alone_and_is_never_shared_or_measured(served: tuple[Any, str]) -> None:
    page, address = served
    assert address.startswith("http://127.0.0.1:")
    assert page.server.config.host == "127.0.0.1"
    assert page.share is False
    assert page.share_url is None
    assert page.analytics_enabled is False
    assert page.config["analytics_enabled"] is False


def test_page_serves_no_file_of_the_disk(served: tuple[Any, str], run: Path) -> None:
    for path in (run / "run.json", run / "audit" / "report.html", Path("/etc/hostname"), Path(__file__)):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{served[1]}gradio_api/file={path}", timeout=30)
        assert caught.value.code in (403, 404)
    asked = json.dumps(
        {"data": [{"path": str(run / "run.json"), "meta": {"_type": "gradio.FileData"}}]}
    ).encode()
    request = urllib.request.Request(
        f"{served[1]}gradio_api/run/classify", asked, {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(request, timeout=30)


def test_page_reads_nothing_in_the_record_as_markup(served: tuple[Any, str], run: Path) -> None:
    page, address = served
    assert OWNED in RunRecord.read(run).title
    for component in page.config["components"]:
        if component["type"] in ("markdown", "html"):
            assert "<img" not in str(component["props"].get("value"))
            assert "[a](" not in str(component["props"].get("value"))
    for place in ("", "config"):
        sent = urllib.request.urlopen(f"{address}{place}", timeout=30).read().decode()
        assert "owned" in sent
        if place == "":
            assert f"<script>{OWNED}" not in sent
            assert "<img src=x" not in sent
