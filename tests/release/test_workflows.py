"""What GitHub runs exists, may do no more than it must, and runs code of a named version."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import jal_hf

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PINNED = re.compile(r"^[\w.-]+/[\w./-]+@(v\d+|[0-9a-f]{40}|release/v\d+)$")


def read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    # YAML 1.1 reads the word `on` as true.
    return {"on" if key is True else key: value for key, value in content.items()}


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job.get("steps", [])


def commands(path: Path) -> list[str]:
    return [line for step in steps(read(path)) for line in step.get("run", "").splitlines()]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_has_a_cause_jobs_and_a_time_limit(path: Path) -> None:
    workflow = read(path)
    assert workflow["on"]
    for name, job in workflow["jobs"].items():
        if "uses" in job:
            assert (ROOT / job["uses"]).is_file(), name
            continue
        assert job["runs-on"] == "ubuntu-latest"
        assert 0 < job["timeout-minutes"] <= 60
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])
        assert set(job.get("needs", "").split()) <= set(workflow["jobs"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_may_only_read_but_for_the_identity_of_the_publisher(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    asked = {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
    assert asked == ({"publish": {"id-token": "write"}} if path.stem == "release" else {})
    assert "secrets." not in path.read_text(encoding="utf-8")
    assert "pull_request_target" not in workflow["on"]
    for step in steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_of_a_named_version(path: Path) -> None:
    used = [step["uses"] for step in steps(read(path)) if "uses" in step]
    assert [name for name in used if not PINNED.match(name)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_commands_name_what_exists(path: Path) -> None:
    extras = set(re.findall(r"^(\w+) = \[", PYPROJECT.partition("[project.optional-dependencies]")[2], re.M))
    for line in commands(path):
        assert line.startswith("python "), line
        for asked in re.findall(r'"\.\[([\w,]+)\]"', line):
            assert set(asked.split(",")) <= extras, line
        for word in line.split():
            if re.match(r"^(\.github|tests|examples)/", word) and word != "examples/docs":
                assert (ROOT / word).exists(), line


def test_every_supported_python_is_tested() -> None:
    declared = re.findall(r"Python :: (3\.\d+)", PYPROJECT)
    matrix = read(GITHUB / "workflows" / "tests.yml")["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert matrix == declared
    assert f'requires-python = ">={declared[0]}"' in PYPROJECT


def test_nothing_is_published_untested_and_unchecked() -> None:
    jobs = read(GITHUB / "workflows" / "release.yml")["jobs"]
    assert jobs["publish"]["needs"] == "build"
    assert jobs["build"]["needs"] == "tests"
    ran = commands(GITHUB / "workflows" / "release.yml")
    assert "python -m twine check --strict dist/*" in ran
    assert read(GITHUB / "workflows" / "release.yml")["on"] == {"push": {"tags": ["v*"]}}


def test_floors_are_those_of_every_requirement() -> None:
    done = subprocess.run([sys.executable, GITHUB / "floors.py"], capture_output=True, text=True, check=True)
    floors = dict(line.split("==") for line in done.stdout.split())
    section = PYPROJECT.partition("dependencies = [")[2].partition("[project.scripts]")[0]
    asked = re.findall(r'"([\w.-]+)(?:\[[\w,]+\])?(>=[\d.]+)?"', section)
    assert {name for name, floor in asked if not floor} <= {"jal_hf"}
    assert set(floors) == {name for name, floor in asked if floor}
    assert floors["torch"] == "2.7"


def test_version_is_the_same_everywhere() -> None:
    declared = re.search(r'^version = "(.+)"$', PYPROJECT, re.M)
    assert declared is not None
    assert jal_hf.__version__ == declared[1]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.search(
        r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M
    )
    assert newest is not None
    assert newest.groups() == (citation["version"], str(citation["date-released"]))
    assert citation["version"] == declared[1]
    good = subprocess.run([sys.executable, GITHUB / "floors.py", "--version", declared[1]], check=False)
    bad = subprocess.run(
        [sys.executable, GITHUB / "floors.py", "--version", "0.0.1"], capture_output=True, check=False
    )
    assert (good.returncode, bad.returncode) == (0, 1)


@pytest.mark.parametrize("name", ["bug", "feature", "question"])
def test_issue_form_has_a_required_question(name: str) -> None:
    form = read(GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml")
    assert form["name"]
    assert form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_dependabot_keeps_the_actions_new() -> None:
    updates = read(GITHUB / "dependabot.yml")["updates"]
    assert [update["package-ecosystem"] for update in updates] == ["github-actions"]
