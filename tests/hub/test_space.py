"""`jal-hf push RUN REPO --space SPACE`: the page of a run as a Space, from the command to its answer."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement
from PIL import Image

from jal_hf.hub.space import SDK, SDK_VERSION, space_files
from tests.demo.conftest import make_run, write_audit
from tests.hub.conftest import Client
from tests.hub.local_hub import LocalHub, check_card, check_space

ROOT = Path(__file__).resolve().parents[2]
_PUSH = """
    import contextlib, io, json, os, urllib.request
    from pathlib import Path
    from jal_hf.cli.main import main

    told = {}

    def call(name, *words):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["push", "run", *words])
        told[name] = {"code": code, "out": out.getvalue(), "err": err.getvalue()}

    call("somebody-elses", "tester/never", "--space", "google/page")
    call("good", "tester/shown", "--space", "page", "--license", "mit", "--private")
    fault = json.dumps({"kind": "403", "where": "/spaces/"}).encode()
    where = os.environ["HF_ENDPOINT"] + "/_test/fault"
    urllib.request.urlopen(urllib.request.Request(where, fault, method="POST")).read()
    call("refused", "tester/alone", "--space", "tester/other", "--revision", "trial")
    call("public", "tester/alone", "--space", "tester/other", "--private")
    Path("told.json").write_text(json.dumps(told))
"""


def test_space_in_the_examples_is_what_a_push_uploads() -> None:
    place = ROOT / "examples" / "space"
    files = space_files("me/my-robust-classifier")
    assert {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()} == files


@pytest.mark.parametrize("name", ["tester/1.0", "tester/true", "tester/a-b_c.d"])
def test_space_has_a_header_that_the_hub_takes_whatever_the_models_name(name: str) -> None:
    files = space_files(name, "mit")
    assert check_space(files["README.md"].decode()) == []
    header = yaml.safe_load(files["README.md"].decode().split("---")[1])
    assert header["title"] == name.partition("/")[2]
    assert header["models"] == [name]
    assert header["license"] == "mit"
    compile(files["app.py"], "app.py", "exec")


def test_space_takes_a_version_of_gradio_that_the_extra_allows() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (extra,) = (line for line in project.splitlines() if line.startswith("demo = "))
    (needed,) = json.loads(extra.partition("=")[2])
    requirement = Requirement(needed)
    assert requirement.name == SDK
    assert requirement.specifier.contains(SDK_VERSION)


def test_push_with_space_uploads_a_page_that_points_at_the_pushed_model(
    hub: LocalHub, client: Client, tmp_path: Path
) -> None:
    write_audit(make_run(tmp_path / "run"))
    client(_PUSH)
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["somebody-elses"]["code"] == 2
    assert "under the name of somebody else" in told["somebody-elses"]["err"]
    assert ("models", "tester/never") not in hub.repositories

    assert told["good"]["code"] == 0, told["good"]
    assert "Space: " in told["good"]["out"]
    space = hub.files("tester/page", "spaces")
    expected = space_files("tester/shown", "mit")
    assert {name: space[name] for name in expected} == expected
    assert hub.repository("tester/page", "spaces").private
    model = hub.files("tester/shown")
    assert check_card(model["README.md"].decode()) == []
    # Pictures of the training data stay where they are.
    assert not [name for name in [*model, *space] if "audit" in name or "report" in name]

    assert told["refused"]["code"] == 1
    assert "only its Space is missing" in told["refused"]["err"]
    assert "--revision trial --space tester/other" in told["refused"]["err"]
    assert ("models", "tester/alone") in hub.repositories
    assert told["public"]["code"] == 1
    assert (
        told["public"]["err"].rstrip().endswith("jal-hf push run tester/alone --private --space tester/other")
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_app_of_the_space_answers_with_the_model_of_the_hub(
    hub: LocalHub, client: Client, tmp_path: Path
) -> None:
    pytest.importorskip("gradio", reason="gradio is not installed: pip install 'jal_hf[demo]'")
    from gradio_client import Client as Asker
    from gradio_client import handle_file

    from jal_hf.runs.prediction import predict_images

    run = make_run(tmp_path / "run")
    image = tmp_path / "digit.png"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save(image)
    client(["push", str(run), "tester/shown", "--space", "tester/page"])
    (tmp_path / "app.py").write_bytes(hub.files("tester/page", "spaces")["app.py"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**hub.environment(tmp_path / "space-home"), "GRADIO_SERVER_PORT": str(port)}
    app = subprocess.Popen([sys.executable, "app.py"], cwd=tmp_path, env=environment)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(240):
            try:
                urllib.request.urlopen(address, timeout=5).read()
                break
            except OSError:
                assert app.poll() is None, "the app ended"
                time.sleep(1)
        answer = Asker(address, verbose=False, analytics_enabled=False).predict(
            handle_file(str(image)), api_name="/classify"
        )
    finally:
        app.terminate()
        app.wait(30)
    assert answer["label"] == predict_images(run, [image])[0]["label"]
