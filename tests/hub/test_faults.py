"""Pushes through a bad line: nothing is lost, nothing comes twice, and no fault is waited for without end."""

from __future__ import annotations

import json
from pathlib import Path

from tests.hub.conftest import Client
from tests.hub.local_hub import TOKEN, LocalHub
from tests.hub.records import write_example_record

_STEPS = ("repos/create", "validate-yaml", "preupload", "objects/batch", "PUT /lfs/", "/commit/main")
_PASSING = ("429", "500", "503", "cut", "refuse", "lost", "stall")
_LASTING = [
    ("401", "/commit/"),
    ("403", "/commit/"),
    ("413", "PUT /lfs/"),
    ("403", "objects/batch"),
    ("401", "preupload"),
]
_SPENT = [("500", "/commit/"), ("cut", "/commit/"), ("429", "preupload")]

_DRIVER = """
    import json, shutil, time, urllib.request, os
    from pathlib import Path
    import torch
    from safetensors.torch import save_file
    from jal_hf.hub.push import push_run
    from jal_hf.hub.transfer import Patience, PushError

    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(seconds, 0.01))  # the client's own backoff takes seconds a try
    patience = Patience(attempts=3, first_wait=0.01, longest_wait=0.02, timeout=0.4)
    outcome = {}

    def fault(**words):
        url, content = os.environ["HF_ENDPOINT"] + "/_test/fault", json.dumps(words).encode()
        urllib.request.urlopen(urllib.request.Request(url, content, method="POST")).read()

    for number, case in enumerate(json.loads(Path("cases.json").read_text())):
        run = Path(f"run{number}")
        shutil.copytree("run", run)
        save_file({"weight": torch.full((1000,), float(number))}, run / "model.safetensors")
        fault(**case)
        try:
            push_run(run, f"tester/run{number}", patience=patience)
            outcome[number] = "pushed"
        except PushError as error:
            outcome[number] = str(error)
            push_run(run, f"tester/run{number}", patience=patience)
    Path("outcome.json").write_text(json.dumps(outcome))
"""


def test_fifty_faults_lose_nothing_and_double_nothing(hub: LocalHub, client: Client, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "plots").mkdir(parents=True)
    write_example_record(run)
    (run / "config.json").write_text("{}")
    (run / "plots" / "curves.png").write_bytes(b"png")
    passing = [
        {"kind": kind, "where": step, "times": 1, "seconds": 600} for step in _STEPS for kind in _PASSING
    ]
    lasting = [{"kind": kind, "where": step, "times": 1} for kind, step in _LASTING]
    # as many as the tries of one push and of the client below it, so that the push itself gives up
    spent = [{"kind": kind, "where": step, "times": 3 if step == "/commit/" else 18} for kind, step in _SPENT]
    cases = passing + lasting + spent
    (tmp_path / "cases.json").write_text(json.dumps(cases))

    client(_DRIVER)

    outcome = json.loads((tmp_path / "outcome.json").read_text())
    assert len(cases) >= 50
    assert hub.injected >= len(cases)
    for number, case in enumerate(cases):
        text = outcome[str(number)]
        if number < len(passing):
            assert text == "pushed", (case, text)
        else:
            assert f"jal-hf push run{number} tester/run{number}" in text, (case, text)
        repository, folder = hub.repository(f"tester/run{number}"), tmp_path / f"run{number}"
        assert len(repository.commits) == 2, f"{case}: {[commit.title for commit in repository.commits]}"
        sent = hub.files(f"tester/run{number}")
        del sent[".gitattributes"]
        assert sent == {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
    assert TOKEN not in json.dumps(outcome)
