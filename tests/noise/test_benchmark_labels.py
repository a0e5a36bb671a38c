"""A benchmark's labels fit the images they were made for, in their own order, and nobody else's are given away."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, load_dataset
from PIL import Image as PILImage

from jal_hf.cli.main import main
from jal_hf.data import load_noisy_dataset
from jal_hf.hub.validation import validate_card
from jal_hf.noise import add_label_noise, create_noise, labels_sha256
from jal_hf.noise.image_hashes import hashes_sha256, image_sha256
from jal_hf.runs.benchmark import task_name

NAMES = ["ant", "bee", "cow"]


def pictures(count: int, seed: int, mode: str = "RGB") -> list[PILImage.Image]:
    shape = (count, 6, 5) if mode == "L" else (count, 6, 5, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return [PILImage.fromarray(image) for image in pixels]


def rows(count: int, seed: int, order: list[int] | None = None) -> Dataset:
    images, labels = pictures(count, seed), [number % 3 for number in range(count)]
    order = list(range(count)) if order is None else order
    columns = {"image": [images[row] for row in order], "label": [labels[row] for row in order]}
    return Dataset.from_dict(columns, features=Features({"image": Image(), "label": ClassLabel(names=NAMES)}))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "insects"
    folder.mkdir()
    for name, count in (("train", 90), ("test", 30)):
        rows(count, count).to_parquet(str(folder / f"{name}-00000-of-00001.parquet"))
    Dataset.from_dict({"worse_label": [(number + 1) % 3 for number in range(90)]}).to_parquet(
        str(folder.parent / "people.parquet")
    )
    return folder


@pytest.fixture(scope="module")
def benchmark(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "board"
    people = f"human:{source.parent / 'people.parquet'}#worse_label"
    words = ["--noise", "symmetric:0.4", "--noise", f"pairflip:0.2,mode=iid,{people}", "--seeds", "0,3"]
    assert main(["benchmark", str(source), *words, "--out", str(out)]) == 0
    return out


def test_manifest_describes_every_draw_so_that_anybody_can_check_it(benchmark: Path, source: Path) -> None:
    manifest = json.loads((benchmark / "benchmark.json").read_text(encoding="utf-8"))
    assert list(manifest["tasks"]) == ["symmetric-0.4", "pairflip-0.2-mode-iid", "human-worse_label"]
    assert (manifest["rows"], manifest["test"]["rows"]) == (90, 30)
    loaded = load_dataset(str(benchmark), "symmetric-0.4")
    images = load_dataset(str(source))
    for split in ("train", "test"):
        assert loaded[split]["image_sha256"][:] == [
            hashlib.sha256(b"5x6\n" + image.tobytes()).hexdigest() for image in images[split]["image"]
        ]
    assert hashes_sha256(loaded["train"]["image_sha256"]) == manifest["images_sha256"]
    for seed in ("0", "3"):
        drawn, facts = (
            np.array(loaded["train"][f"label_seed{seed}"]),
            manifest["tasks"]["symmetric-0.4"]["draws"][seed],
        )
        assert labels_sha256(drawn) == facts["labels_sha256"]
        assert (drawn != np.array(loaded["train"]["clean_label"])).mean() == facts["realised_rate"] == 0.4
        assert np.array_equal(drawn, create_noise("symmetric:0.4", 3).corrupt(np.arange(90) % 3, int(seed)))
    assert loaded["test"]["label_seed0"][:] == loaded["test"]["clean_label"][:]
    matrix = np.array(create_noise("symmetric:0.4", 3).transition_matrix(), dtype="<f8")
    digest = manifest["tasks"]["symmetric-0.4"]["transition_matrix_sha256"]
    assert digest == hashlib.sha256(matrix.tobytes()).hexdigest()
    validate_card((benchmark / "README.md").read_text(encoding="utf-8"))


def test_labels_of_people_are_named_and_not_written(benchmark: Path) -> None:
    task = json.loads((benchmark / "benchmark.json").read_text())["tasks"]["human-worse_label"]
    given = [(number + 1) % 3 for number in range(90)]
    assert task["draws"]["0"]["labels_sha256"] == labels_sha256(given)
    assert "people.parquet#worse_label" in task["reference"]
    for path in (benchmark / "labels").iterdir():
        assert "human" not in path.name
        assert all(column.to_pylist() != given for column in pq.read_table(path).columns)
    with pytest.raises(ValueError, match="holds no labels: they are somebody else's"):
        create_noise(f"benchmark:{benchmark}#human-worse_label", 3)


def test_training_data_gets_the_benchmarks_labels(benchmark: Path, source: Path) -> None:
    spec = f"benchmark:{benchmark}#symmetric-0.4,seed=3"
    data = load_noisy_dataset(str(source), noise=spec)
    manifest = json.loads((benchmark / "benchmark.json").read_text())
    assert (
        data.noise_report.labels_sha256 == manifest["tasks"]["symmetric-0.4"]["draws"]["3"]["labels_sha256"]
    )
    assert (data.noise_report.spec, data.noise_report.realised_rate) == (spec, 0.4)
    part = load_noisy_dataset(str(source), noise=spec, max_train_samples=20)["train"]
    whole = dict(zip(data["train"]["index"], data["train"]["label"], strict=True))
    assert [whole[row] for row in part["index"]] == part["label"][:]
    stream = add_label_noise(rows(90, 90).to_iterable_dataset(), create_noise(spec, 3), seed=0)
    assert [row["label"] for row in stream] == data["train"]["label"][:]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (rows(90, 90, [3, 1, 2, 0, *range(4, 90)]), r"2 of 90 rows \(first rows \[0, 3\]\). .* in another order"),
        (rows(90, 91), "90 of 90 rows .* These are other images"),
        (rows(60, 90), "has 90 labels, the dataset has 60 rows"),
    ],
    ids=["order within a class", "other images", "fewer rows"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["benchmark", "labels"])
def test_other_images_or_another_order_are_refused(
    benchmark: Path, changed: Dataset, sentence: str, kind: str
) -> None:
    """Swapping two rows of one class leaves the clean labels as they are: only the images tell."""
    spec = {
        "benchmark": f"benchmark:{benchmark}#symmetric-0.4",
        "labels": f"labels:{benchmark}/labels/symmetric-0.4.parquet#label_seed0",
    }
    with pytest.raises(ValueError, match=sentence):
        load_noisy_dataset(DatasetDict(train=changed, test=rows(30, 30)), noise=spec[kind])
    if len(changed) == 90:
        stream = add_label_noise(changed.to_iterable_dataset(), create_noise(spec[kind], 3))
        with pytest.raises(ValueError, match="were made for other images"):
            list(stream)


def test_digits_benchmark_follows_the_rows_numbers(tmp_path: Path) -> None:
    """The digits' training rows are numbered within the whole dataset, with gaps."""
    assert main(["benchmark", "digits", "--noise", "symmetric:0.4", "--out", str(tmp_path / "board")]) == 0
    named = load_noisy_dataset("digits", noise=f"benchmark:{tmp_path / 'board'}#symmetric-0.4")
    drawn = load_noisy_dataset("digits", noise="symmetric:0.4", noise_seed=0)
    assert named.noise_report.labels_sha256 == drawn.noise_report.labels_sha256
    assert named["train"]["label"][:] == drawn["train"]["label"][:]


def test_hash_is_of_the_picture_and_not_of_its_file() -> None:
    grey = pictures(1, 0, "L")[0]
    found = image_sha256(grey)
    for encoding in ("PNG", "BMP", "TIFF"):
        stream = io.BytesIO()
        grey.convert("RGB" if encoding == "BMP" else "L").save(stream, format=encoding)
        assert image_sha256({"bytes": stream.getvalue(), "path": None}) == found
    assert image_sha256(grey.rotate(180)) != found
    turned = PILImage.frombytes("L", (6, 5), grey.tobytes())
    assert image_sha256(turned) != found, "the same bytes in another shape are another picture"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--noise", "symmetric:0.4,symmetric:0.4"], "stands twice"),
        (["--noise", "symmetric:0.4", "--noise", "SYMMETRIC:0.4"], "make the task 'symmetric-0.4'"),
        (["--noise", "nonsense:0.4"], "The noise kind 'nonsense' is unknown"),
        (["--noise", "benchmark:a/b#c"], "is a benchmark's already"),
        (["--noise", "symmetric:0.4", "--seeds", "x"], "--seeds takes whole numbers"),
    ],
)
def test_benchmark_that_cannot_be_leaves_nothing_behind(
    source: Path, tmp_path: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", str(source), *words, "--out", str(tmp_path / "x")]) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"index": [0] * 90}, "has no column 'index' of row numbers"),
        ({"index": [-1, *range(1, 90)]}, "has no column 'index' of row numbers"),
        ({"label_seed0": [0] * 90}, "are not those that its benchmark.json describes"),
        ({"clean_label": [0] * 90}, "differ from the dataset's in 60 of 90 rows"),
        ({"image_sha256": ["0" * 64] * 90}, "were made for other images in 90 of 90 rows"),
        ({"label_seed0": [9] * 90}, "labels must be in"),
    ],
)
def test_label_file_that_was_changed_is_refused(
    benchmark: Path, source: Path, tmp_path: Path, change: dict[str, list[object]], sentence: str
) -> None:
    board = tmp_path / "board"
    (board / "labels").mkdir(parents=True)
    table = pq.read_table(benchmark / "labels" / "symmetric-0.4.parquet").replace_schema_metadata(None)
    columns = {**{name: table[name].to_pylist() for name in table.column_names}, **change}
    Dataset.from_dict(columns).to_parquet(str(board / "labels" / "symmetric-0.4.parquet"))
    (board / "benchmark.json").write_bytes((benchmark / "benchmark.json").read_bytes())
    with pytest.raises(ValueError, match=sentence):
        load_noisy_dataset(str(source), noise=f"benchmark:{board}#symmetric-0.4")


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        (b"{", "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b"[]", "cannot be read as JSON"),
        (b"{}", "names no tasks"),
        (b'{"test": {}, "tasks": {"a": {"spec": "x", "draws": {"0": {"labels_sha256": "0"}}}}}', "no usable way"),
        (b'{"test": {}, "tasks": {"../a": {}}}', "no usable way"),
        (b" " * 8_000_001, "is larger than"),
    ],
)  # fmt: skip
def test_manifest_that_cannot_be_is_told_in_a_sentence(
    tmp_path: Path, manifest: bytes, sentence: str
) -> None:
    (tmp_path / "benchmark.json").write_bytes(manifest)
    with pytest.raises(ValueError, match=sentence):
        create_noise(f"benchmark:{tmp_path}#a", 3)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("benchmark:a/b", "names no task"),
        ("benchmark", "needs a file"),
        ("benchmark:a/b/c#d", "is no benchmark"),
        ("benchmark:../../etc#passwd", "is no benchmark"),
        ("benchmark:owner/absent#task", "the Hub cannot be asked"),
    ],
)
def test_spec_that_names_no_benchmark_is_told_in_a_sentence(
    spec: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")  # two folders up there is no etc
    with pytest.raises((ValueError, ConnectionError), match=sentence):
        create_noise(spec, 3)


def test_task_is_named_after_its_noise() -> None:
    assert task_name("asymmetric:0.4,classes=mnist") == "asymmetric-0.4-classes-mnist"
    assert task_name("human:/home/me/cifar10n.parquet#worse_label") == "human-worse_label"
    assert task_name("none") == "none"
