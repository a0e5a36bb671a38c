"""`jal-hf noise` writes a folder that loads, repeats and explains itself, or nothing at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from datasets import ClassLabel, Dataset, Features, Image, load_dataset
from PIL import Image as PILImage

from jal_hf.cli.main import main
from jal_hf.data import load_noisy_dataset
from jal_hf.hub.noisy_dataset import render_dataset_card
from jal_hf.noise import labels_sha256
from jal_hf.noise.parquet import write_split

pytestmark = pytest.mark.usefixtures("drawn")

NAMES = ["ant", "bee | wasp", "cow"]


def make_rows(count: int, seed: int) -> Dataset:
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    features = Features({"img": Image(), "label": ClassLabel(names=NAMES)})
    columns = {"img": [PILImage.fromarray(image) for image in pixels], "label": np.arange(count) % 3}
    return Dataset.from_dict(columns, features=features)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset in the Hub's layout with a licence of its own."""
    folder = tmp_path_factory.mktemp("source") / "insects"
    (folder / "data").mkdir(parents=True)
    for name, count in (("train", 90), ("test", 30)):
        make_rows(count, count).to_parquet(str(folder / "data" / f"{name}-00000-of-00001.parquet"))
    front = {
        "license": "cc-by-4.0",
        "language": ["en"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"data/{name}-*"} for name in ("train", "test")],
            }
        ],
    }
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(front)}---\n# Insects\n", encoding="utf-8")
    return folder


def front_matter(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---")[1])


def test_written_folder_loads_with_the_labels_its_manifest_names(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "noisy"
    assert main(["noise", str(source), "--noise", "pairflip:0.3", "--seed", "5", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "asked 30.00%, realised 30.000% (27 of 90 labels are wrong)" in shown
    loaded = load_dataset(str(out))
    manifest = json.loads((out / "noise_manifest.json").read_text(encoding="utf-8"))
    noisy, clean = np.array(loaded["train"]["label"]), np.array(loaded["train"]["clean_label"])
    assert labels_sha256(noisy) == manifest["labels_sha256"]
    assert (noisy != clean).mean() == manifest["realised_rate"] == 0.3
    assert (manifest["spec"], manifest["seed"], manifest["rows"]) == ("pairflip:0.3", 5, 90)
    assert manifest["source"]["name"] == "insects"
    assert set(manifest["versions"]) == {"python", "jal_hf", "datasets", "numpy", "pyarrow"}
    original = load_dataset(str(source))
    assert loaded["train"].features["label"] == original["train"].features["label"]
    for split in ("train", "test"):
        before, after = original[split]["img"], loaded[split]["img"]
        assert all(a.tobytes() == b.tobytes() for a, b in zip(before, after, strict=True))
    assert loaded["test"]["label"][:] == original["test"]["label"][:]
    assert set(loaded["test"]["clean_label"]) == {None}
    assert (out / "plots" / "transition_matrix.png").stat().st_size > 1000
    assert os.listdir(tmp_path) == ["noisy"]


def test_card_carries_licence_and_shows_what_was_asked_and_done(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "noisy"
    assert (
        main(["noise", str(source), "--noise", "symmetric:0.4,include_true_class=true", "--out", str(out)])
        == 0
    )
    front = front_matter(out)
    assert front["license"] == "cc-by-4.0"
    assert front["language"] == ["en"]
    assert front["configs"][0]["data_files"][0] == {"split": "train", "path": "data/train-*"}
    assert {"noisy-labels", "symmetric"} <= set(front["tags"])
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "| wrong labels | 26.67 % | 26.67 % |" in card
    assert "| rate in the spec | 40.00 % | |" in card
    assert "bee \\| wasp" in card
    assert str(source.parent) not in card + (out / "noise_manifest.json").read_text(encoding="utf-8")


def test_folder_trains_on_the_labels_that_loading_with_noise_draws(source: Path, tmp_path: Path) -> None:
    for dataset, spec in (
        (str(source), "symmetric:0.4"),
        ("digits", "asymmetric:0.3"),
        (str(source), "idn:0.4"),
    ):
        out = tmp_path / spec.partition(":")[0]
        assert main(["noise", dataset, "--noise", spec, "--seed", "2", "--out", str(out)]) == 0
        drawn = load_noisy_dataset(dataset, noise=spec, noise_seed=2).noise_report
        read = load_noisy_dataset(str(out)).noise_report
        assert drawn is not None
        assert read is not None
        assert read.labels_sha256 == drawn.labels_sha256
        assert read.realised_rate == drawn.realised_rate > 0


def test_writing_twice_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    contents = []
    for number in (1, 2):
        out = tmp_path / str(number) / "noisy"
        assert main(["noise", str(source), "--noise", "idn:0.4", "--out", str(out)]) == 0
        files = [*out.glob("data/*"), out / "noise_manifest.json", out / "README.md"]
        contents.append({file.name: file.read_bytes() for file in files})
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--noise", "symetric:0.4"], "Did you mean 'symmetric'"),
        (["--noise", "symmetric:1.4"], "below 1"),
        (["--noise", "asymmetric:0.4"], "classes=NAME"),
        (["--noise", "symmetric:0.4", "--label_column", "lable"], "label"),
        (["--noise", "labels:absent.npy"], "does not exist"),
        (["--noise", "symmetric:0.4", "--seed", "-1"], "at least 0"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    source: Path, tmp_path: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["noise", str(source), *words, "--out", str(tmp_path / "noisy")]) == 2
    assert sentence in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_target_in_use_is_refused_before_any_work(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["noise", str(source), "--noise", "symmetric:0.4"]
    assert main(words) == 2
    assert "--out DIR, or --push REPO" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main([*words, "--out", str(tmp_path / "file")]) == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("text", encoding="utf-8")
    for extra in ([], ["--overwrite"]):
        assert main([*words, "--out", str(tmp_path / "mine"), *extra]) == 2
    assert (tmp_path / "mine" / "thesis.tex").read_text(encoding="utf-8") == "text"
    out = tmp_path / "noisy"
    assert main([*words, "--out", str(out)]) == 0
    assert main([*words, "--out", str(out)]) == 2
    assert main([*words, "--out", str(out), "--seed", "1", "--overwrite"]) == 0
    assert json.loads((out / "noise_manifest.json").read_text(encoding="utf-8"))["seed"] == 1
    assert sorted(os.listdir(tmp_path)) == ["file", "mine", "noisy"]


def test_failure_while_writing_leaves_the_older_folder_as_it_was(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [
        "noise",
        str(source),
        "--noise",
        "symmetric:0.4",
        "--out",
        str(tmp_path / "noisy"),
        "--overwrite",
    ]
    assert main(words) == 0
    before = (tmp_path / "noisy" / "noise_manifest.json").read_bytes()

    def fail(*arguments: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("jal_hf.analysis.plot_transition_matrix", fail)
    capsys.readouterr()
    assert main([*words, "--seed", "1"]) != 0
    assert "the disk is full" in capsys.readouterr().err
    assert (tmp_path / "noisy" / "noise_manifest.json").read_bytes() == before
    assert os.listdir(tmp_path) == ["noisy"]


def test_noisy_dataset_does_not_get_noise_twice(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ["noise", str(source), "--noise", "symmetric:0.4", "--out", str(tmp_path / "a")]
    assert main(first) == 0
    assert main(["noise", str(tmp_path / "a"), "--noise", "symmetric:0.4", "--out", str(tmp_path / "b")]) == 2
    assert "already has a column 'clean_label'" in capsys.readouterr().err


def test_large_split_is_cut_into_files_and_images_on_disk_are_embedded(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    paths = []
    for number in range(3):
        PILImage.new("RGB", (4, 4), number).save(tmp_path / f"{number}.png")
        paths.append(str(tmp_path / f"{number}.png"))
    rows = Dataset.from_dict({"img": paths * 1000}).cast_column("img", Image())
    files = write_split(rows, tmp_path / "data", "train", shard_bytes=1)
    assert [file.name for file in files] == [f"train-0000{number}-of-00003.parquet" for number in range(3)]
    for number in range(3):
        (tmp_path / f"{number}.png").unlink()
    loaded = load_dataset("parquet", data_files=[str(file) for file in files], split="train")
    assert loaded.features == rows.features
    assert [image.getpixel((0, 0))[0] for image in loaded["img"][:6]] == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("licence", [None, ["mit", "cc-by-4.0"], "mine", 7])
def test_odd_licences_of_the_source_give_a_card_the_hub_takes(
    licence: Any, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "noisy"
    assert main(["noise", str(source), "--noise", "symmetric:0.4", "--out", str(out)]) == 0
    manifest = json.loads((out / "noise_manifest.json").read_text(encoding="utf-8"))
    card = render_dataset_card(manifest, {"license": licence} if licence else {}, "me/x")
    front = yaml.safe_load(card.split("---")[1])
    assert front.get("license") == ("other" if licence else None)
    assert ("No licence was found" in card) == (licence is None)


@pytest.mark.parametrize(
    ("front", "kept"),
    [
        ("language: [no, en]", {"language": ["no", "en"]}),
        ("language: no", {"language": ["no"]}),
        ("language: {a: b}\nlicense_link: [a, b]", {}),
        ("license: other\nlicense_name: 2020-01-01\nlicense_link: 7", {}),
        (
            "license: other\nlicense_name: mine\nlicense_link: LICENSE",
            {"license_name": "mine", "license_link": "LICENSE"},
        ),
    ],
)
def test_odd_front_matter_of_the_source_gives_a_card_the_hub_takes(
    front: str, kept: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(source, tmp_path / "odd"))
    (copy / "README.md").write_text(f"---\n{front}\n---\n# Insects\n", encoding="utf-8")
    out = tmp_path / "noisy"
    assert main(["noise", str(copy), "--noise", "symmetric:0.4", "--out", str(out)]) == 0
    written = front_matter(out)
    names = ("language", "license_name", "license_link")
    assert {name: written[name] for name in names if name in written} == kept


def test_front_matter_that_is_no_yaml_is_told_in_a_sentence(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(source, tmp_path / "odd"))
    (copy / "README.md").write_text("---\ntitle: My data: version 2\n---\n", encoding="utf-8")
    assert main(["noise", str(copy), "--noise", "symmetric:0.4", "--out", str(tmp_path / "noisy")]) == 2
    assert "README.md of the dataset" in capsys.readouterr().err
    assert not (tmp_path / "noisy").exists()


def test_push_sends_the_folder_to_a_dataset_repository(source: Path, tmp_path: Path) -> None:
    from tests.hub.local_hub import TOKEN, USER, LocalHub

    with LocalHub() as hub:
        environment = hub.environment(tmp_path / "home", TOKEN)
        words = ["noise", str(source), "--noise", "symmetric:0.4", "--push", "noisy-insects", "--private"]
        done = subprocess.run(
            [sys.executable, "-m", "jal_hf", *words],
            env=environment, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        repo_id = f"{USER}/noisy-insects"
        assert f"{repo_id}/commit/" in done.stdout
        script = (
            f"from datasets import load_dataset; rows = load_dataset({repo_id!r}); print(sum(a != b for a, "
            "b in zip(rows['train']['label'], rows['train']['clean_label'])))"
        )
        read = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=240
        )
        assert read.stdout.strip() == "36", read.stderr[-3000:]
    refused = subprocess.run(
        [sys.executable, "-m", "jal_hf", *words, "--out", str(tmp_path / "kept")],
        env=environment | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert refused.returncode in (1, 2)
    assert "jal-hf: error:" in refused.stderr
    assert "Traceback" not in refused.stderr
