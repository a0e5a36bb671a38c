"""Where decoded images are kept where the usual place is missing, closed, or shared."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from jal_hf.data import cache
from jal_hf.data.images.decoded_arrays import decoded_array
from jal_hf.data.images.unreadable_images import without_unreadable
from tests.data.conftest import encoded


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    cache.private_folder.cache_clear()
    cache._say.cache_clear()
    yield tmp_path / "temporary"
    cache.private_folder.cache_clear()


def rows(count: int = 6) -> datasets.Dataset:
    images = [{"bytes": encoded(row), "path": None} for row in range(count)]
    features = datasets.Features({"image": datasets.Image()})
    return datasets.Dataset.from_dict({"image": images}, features=features)


def test_the_cache_lies_where_the_surroundings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"JAL_HF_CACHE": "own", "HF_HOME": "hub", "XDG_CACHE_HOME": "xdg"}
    for name, folder in named.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    assert cache.cache_folder() == tmp_path / "own"
    monkeypatch.delenv("JAL_HF_CACHE")
    assert cache.cache_folder() == tmp_path / "hub/jal_hf"
    monkeypatch.delenv("HF_HOME")
    assert cache.cache_folder() == tmp_path / "xdg/jal_hf"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / ".cache/jal_hf"
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert cache.cache_folder().is_relative_to(tmp_path / "temporary")


@pytest.mark.parametrize("name", ["JAL_HF_CACHE", "HF_HOME"])
def test_a_cache_that_cannot_be_written_gives_way_to_a_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("JAL_HF_CACHE")
    monkeypatch.setenv(name, str(tmp_path / "file/below"))
    found = decoded_array(rows(), "image", 16, 3)
    assert len(found) == 6
    assert without_unreadable(rows(), "image", "train")[1] == 0
    (folder,) = (tmp_path / "temporary").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.parent.name for path in folder.rglob("*") if path.is_file()} == {"decoded", "unreadable"}
    sentences = [record.getMessage() for record in caplog.records if "JAL_HF_CACHE" in record.getMessage()]
    assert len(sentences) == 2
    assert all(str(tmp_path / "file/below") in sentence and str(folder) in sentence for sentence in sentences)
    monkeypatch.setattr("jal_hf.data.images.decoded_arrays.open_image", lambda *_, **__: pytest.fail("again"))
    assert np.array_equal(decoded_array(rows(), "image", 16, 3), found)


@pytest.mark.parametrize("kind", ["link", "open to others", "file"])
def test_a_private_folder_that_is_somebodys_is_not_used(tmp_path: Path, kind: str) -> None:
    usual = tmp_path / "temporary" / f"jal_hf-{os.getuid()}"
    if kind == "link":
        (tmp_path / "theirs").mkdir()
        usual.symlink_to(tmp_path / "theirs")
    elif kind == "file":
        usual.write_text("")
    else:
        usual.mkdir()
        usual.chmod(0o777)
    folder = cache.private_folder()
    assert folder != usual
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_entries_can_be_read_by_those_whom_the_umask_lets(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        decoded_array(rows(), "image", 16, 3)
        without_unreadable(rows(), "image", "train")
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".npy", ".json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {mode}


def test_an_entry_that_cannot_be_read_or_replaced_counts_as_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = decoded_array(rows(), "image", 16, 3).copy()
    without_unreadable(rows(), "image", "train")
    read, replace, text = np.load, Path.replace, Path.read_text
    closed = tmp_path / "cache"

    def refuse(path: Any) -> None:
        if Path(path).is_relative_to(closed):
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(np, "load", lambda path, **options: refuse(path) or read(path, **options))
    monkeypatch.setattr(Path, "read_text", lambda path, **options: refuse(path) or text(path, **options))
    monkeypatch.setattr(Path, "replace", lambda path, target: refuse(target) or replace(path, target))
    assert np.array_equal(decoded_array(rows(), "image", 16, 3), wanted)
    assert without_unreadable(rows(), "image", "train")[1] == 0
    assert "JAL_HF_CACHE" in caplog.text
    assert not list(tmp_path.rglob("*.part"))


def test_a_damaged_record_of_unreadable_images_counts_as_absent(tmp_path: Path) -> None:
    without_unreadable(rows(), "image", "train")
    (record,) = (tmp_path / "cache/unreadable").iterdir()
    for content in (b"\xff\xfe", b"[]", b'{"unreadable": ["x"]}', b""):
        record.write_bytes(content)
        assert without_unreadable(rows(), "image", "train")[1] == 0
        assert json.loads(record.read_text())["unreadable"] == []
