"""The package as a user gets it: built, checked, installed into an empty environment, and run from there."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def ran(command: list[str | Path], folder: Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of sdist and wheel, the wheel made from the sdist."""
    for tool in ("build", "twine", "hatchling"):
        if importlib.util.find_spec(tool) is None:
            pytest.skip(f"{tool} is absent: pip install -e '.[dev]' hatchling")
    folder = tmp_path_factory.mktemp("dist")
    ran([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT], folder)
    return folder


def test_archives_pass_the_check_of_the_index(built: Path) -> None:
    archives = sorted(built.iterdir())
    assert [path.suffix for path in archives] == [".whl", ".gz"]
    assert ran([sys.executable, "-m", "twine", "check", "--strict", *archives], built).count("PASSED") == 2


def test_archives_hold_the_package_and_nothing_of_the_workshop(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    assert {name.split("/")[0] for name in names} == {
        "jal_hf",
        next(n for n in names if ".dist-info" in n).split("/")[0],
    }
    for path in (ROOT / "jal_hf").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert path.relative_to(ROOT).as_posix() in names
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        top = {name.split("/")[1] for name in sdist.getnames() if "/" in name}
    assert {"jal_hf", "tests", "pyproject.toml", "LICENSE", "CHANGELOG.md"} <= top
    assert not top & {"runs", "dist", ".ci", "shared"}


def test_wheel_trains_from_an_empty_environment(built: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=True)
    python = bare / ("Scripts" if os.name == "nt" else "bin") / "python"
    wheel = next(built.glob("*.whl"))
    # What the wheel declares, and nothing else, comes from this environment: a forgotten requirement fails.
    ran([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], tmp_path)
    packages = ran([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], tmp_path)
    lend_requirements(Path(packages.strip()))
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")},
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
    }
    place = ran([python, "-c", "import jal_hf; print(jal_hf.__file__)"], tmp_path, environment)
    assert Path(place.strip()).is_relative_to(bare)
    program = python.parent / "jal-hf"
    words = ["train", "--num_train_epochs", "1", "--output_dir", "out", "--json"]
    record = json.loads(ran([program, *words], tmp_path, environment))
    assert record["folder"] == "out"
    assert record["metrics"]["last"]["accuracy"] > 0.1
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert (tmp_path / "out" / "README.md").is_file()
    assert "jal-ce" in ran([program, "losses"], tmp_path, environment)


def lend_requirements(folder: Path) -> None:
    """Links to the files of what `jal_hf` requires, directly or through others, and of nothing else."""
    from importlib.metadata import PackageNotFoundError, distribution

    from packaging.requirements import Requirement

    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = pyproject.partition("\ndependencies = [")[2].partition("]")[0]
    waiting = re.findall(r'"([^"]+)"', declared)
    seen: set[str] = set()
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = requirement.name.lower().replace("_", "-")
        extras = tuple(sorted(requirement.extras))
        if f"{name}{extras}" in seen:
            continue
        seen.add(f"{name}{extras}")
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # not for this platform, or part of the system
        waiting += [text.partition(";")[0] for text in found.requires or [] if _is_asked(text, extras)]
        for file in found.files or []:
            top = file.parts[0]
            source, target = Path(str(found.locate_file(top))), folder / top
            if top not in ("..", "__pycache__") and source.exists() and not target.exists():
                target.symlink_to(source)


def _is_asked(text: str, extras: tuple[str, ...]) -> bool:
    from packaging.requirements import Requirement

    marker = Requirement(text).marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))
