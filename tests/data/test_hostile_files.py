"""Files in a dataset that are no images of a known kind, or no files: a sentence or a counted skip."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import EpsImagePlugin

from jal_hf.data import load_noisy_dataset
from jal_hf.data.images.encoded import stored_pictures
from jal_hf.ground.image_files import UnreadableImageError
from jal_hf.noise import add_label_noise
from tests.data.conftest import colour_images, encoded, save_picture

pytestmark = pytest.mark.timeout(60)
NEEDS_PIPES = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\n0 0 moveto 9 9 lineto stroke\n%%EOF\n"
)


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that appears when a program named `gs` is started."""
    trace = tmp_path / "gs-was-started"
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{trace}'\necho 10.0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return trace


def use_all(data: Any, way: str) -> None:
    """Look at every image, as training, the noise, or a report does."""
    if way == "training":
        colour_images(data["train"], 16).__getitems__(list(range(len(data["train"]))))
    elif way == "large images":
        colour_images(data["train"], 96).__getitems__(list(range(len(data["train"]))))
    elif way == "stream":
        list(colour_images(data["train"].to_iterable_dataset(), 16))
    elif way == "noise":
        split = data["train"]
        drawn = add_label_noise(split, "idn:0.4", index_column="index", image_size=8)
        assert len(drawn["label"][:]) == len(split)
    else:
        stored_pictures(data["train"], "image")


WAYS = pytest.mark.parametrize("way", ["training", "large images", "stream", "noise", "report"])


@WAYS
@pytest.mark.parametrize("stored", ["file", "bytes"])
def test_postscript_named_like_an_image_starts_no_program(
    image_folder: Path, ghostscript: Path, way: str, stored: str
) -> None:
    (image_folder / "train/cat/0.png").write_bytes(EPS)
    data = load_noisy_dataset(str(image_folder))
    if stored == "bytes":
        train = data["train"].cast_column("image", datasets.Image(decode=False))
        read = train.map(
            lambda row: {"image": {"bytes": Path(row["image"]["path"]).read_bytes(), "path": None}}
        )
        data["train"] = read.cast_column("image", datasets.Image())
    with pytest.raises(UnreadableImageError, match=r"Row 0 .*is not a readable image"):
        use_all(data, way)
    assert not ghostscript.exists()


def test_postscript_is_skipped_and_counted_like_other_unreadable_images(
    tmp_path: Path, ghostscript: Path
) -> None:
    for row in range(40):
        save_picture(tmp_path / "own" / ("cat", "dog")[row % 2] / f"{row:02d}.png", row)
    (tmp_path / "own/cat/00.png").write_bytes(EPS)
    data = load_noisy_dataset(str(tmp_path / "own"), on_bad_image="skip")
    assert (data.skipped_images, len(data["train"])) == (1, 39)
    assert not ghostscript.exists()


@NEEDS_PIPES
def test_pipes_sockets_and_broken_links_in_an_image_folder_are_left_out_and_counted(
    image_folder: Path,
) -> None:
    cats = image_folder / "train/cat"
    os.mkfifo(cats / "pipe.png")
    (cats / "link-to-pipe.png").symlink_to(cats / "pipe.png")
    (cats / "broken.png").symlink_to(cats / "absent.png")
    (cats / "device.png").symlink_to("/dev/zero")
    (cats / "linked.png").symlink_to(cats / "1.png")
    listener = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(cats)  # the name of a socket may have 100 characters only
    try:
        listener.bind("socket.png")
    finally:
        os.chdir(here)
    data = load_noisy_dataset(str(image_folder))
    listener.close()
    use_all(data, "training")
    assert len(data["train"]) == 13
    assert any("5 entries in 'train'" in warning for warning in data.warnings)


@NEEDS_PIPES
@WAYS
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_row_that_names_no_regular_file_is_refused(tmp_path: Path, way: str, kind: str) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    path = {"pipe": tmp_path / "pipe.png", "device": Path("/dev/zero"), "folder": tmp_path}[kind]
    images = [{"bytes": None, "path": str(path)}, *({"bytes": encoded(n), "path": None} for n in range(3))]
    label = datasets.ClassLabel(names=["a", "b"])
    features = datasets.Features({"image": datasets.Image(), "label": label})
    split = datasets.Dataset.from_dict({"image": images, "label": [0, 1, 0, 1]}, features=features)
    with pytest.raises(UnreadableImageError, match=r"Row 0 .*(not a regular file|no image by its ending)"):
        use_all(load_noisy_dataset(split), way)


@NEEDS_PIPES
def test_listed_image_that_is_a_pipe_counts_as_missing(clothing1m: Path) -> None:
    path = clothing1m / "images/0/03/3,0.jpg"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UnreadableImageError, match="row 3"):
        load_noisy_dataset(str(clothing1m))
    assert load_noisy_dataset(str(clothing1m), on_bad_image="skip").skipped_images == 1


@pytest.mark.parametrize("name", ["../outside.jpg", "/etc/outside.jpg", "google/../../outside.jpg"])
def test_list_line_that_leads_out_of_the_folder_is_malformed(webvision: Path, name: str) -> None:
    save_picture(webvision.parent / "outside.jpg", 1)
    path = webvision / "info/train_filelist_google.txt"
    path.write_text(f"{name} 0\n{path.read_text()}")
    data = load_noisy_dataset(f"webvision:{webvision}")
    assert len(data["train"]) == 8
    assert any("3 malformed line(s)" in warning for warning in data.warnings)


@NEEDS_PIPES
def test_shard_that_is_a_device_or_an_unwritten_pipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards/train-0.tar").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="neither a regular file nor a named pipe"):
        load_noisy_dataset(str(tmp_path / "shards"))


def test_row_that_names_a_file_of_another_kind_never_reaches_a_copy(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("a token")
    images = [{"bytes": encoded(row), "path": None} for row in range(1200)]
    images[1100] = {"bytes": None, "path": str(secret)}
    table = pa.table({"image": images, "label": [row % 2 for row in range(1200)]})
    (tmp_path / "rows").mkdir()
    pq.write_table(table, tmp_path / "rows/train.parquet")
    with pytest.raises(UnreadableImageError, match=r"Row 1100 .*secret\.txt.*no image by its ending"):
        load_noisy_dataset(str(tmp_path / "rows"))
