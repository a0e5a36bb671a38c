"""No path of this machine is published: not in a record, a card, a table, a picture or a recipe."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jal_hf.data import load_noisy_dataset
from jal_hf.ground.places import place_name, published_spec, without_paths
from jal_hf.runs import RunConfig
from tests.attack.helpers import TINY, attack, holding

SECRET = "SecretPlace"
PRIVATE = (".jal_hf.json", "training_args.bin")
"""What stays on this machine: where the data of a run lies, and the Trainer's own arguments for a resume."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("places") / SECRET
    draw = np.random.default_rng(0)
    for split, count in (("train", 16), ("test", 6)):
        for name in ("cat", "dog"):
            folder = base / "data" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(0, 255, (8, 8), dtype=np.uint8)).save(folder / f"{number}.png")
    np.savez(base / "labels.npz", x=np.zeros(32, dtype=int))
    recipe = base / "mine.yaml"
    lines = [
        f"dataset: {base / 'data'}",
        "model: jal_digits_cnn",
        "image_size: 8",
        "loss: ce",
        "max_steps: 2",
        "protocol: {paper: x}",
    ]
    recipe.write_text("\n".join([*lines, "image_mean: [0.5]", "image_std: [0.5]", "learning_rate: 0.01", ""]))
    return {"data": base / "data", "labels": base / "labels.npz", "recipe": recipe, "base": base}


def leaks(folder: Path) -> list[str]:
    # `logs/` holds what a cell printed on this machine, word for word.
    found = {*holding(folder, SECRET), *holding(folder, str(folder))}
    return sorted(name for name in found if Path(name).name not in PRIVATE and not name.startswith("logs/"))


def test_run_and_audit_name_data_labels_model_and_recipe_without_their_place(
    places: dict[str, Path], tmp_path: Path
) -> None:
    labels = f"labels:{places['labels']}#x"
    words = [*TINY[4:], "--dataset", places["data"], "--noise", labels, "--output_dir", tmp_path / "run"]
    attack("train", places["recipe"], *words, allowed=(0,))
    assert leaks(tmp_path / "run") == []
    attack("audit", tmp_path / "run", allowed=(0,))
    assert leaks(tmp_path / "run") == []
    model = Path(shutil.copytree(tmp_path / "run", places["base"] / "model"))
    attack(
        "train",
        places["recipe"],
        *TINY[4:],
        "--model",
        model,
        "--output_dir",
        tmp_path / "next",
        allowed=(0,),
    )
    assert leaks(tmp_path / "next") == []
    assert "model" in (tmp_path / "next" / "README.md").read_text()


@pytest.mark.slow
def test_grid_names_them_without_their_place(places: dict[str, Path], tmp_path: Path) -> None:
    labels = f"labels:{places['labels']}#x"
    grid = [
        "compare",
        places["recipe"],
        "--losses",
        "ce,gce",
        "--noises",
        f"none,{labels}",
        "--seeds",
        0,
        "--out",
        tmp_path / "grid",
    ]
    printed = attack(*grid, allowed=(0,)).printed
    assert "labels.npz#x" in (tmp_path / "grid" / "table.md").read_text()
    assert leaks(tmp_path / "grid") == []
    again = attack(*grid, allowed=(0,)).printed
    assert again.count("| CE") == printed.count("| CE")
    assert len((tmp_path / "grid" / "results.jsonl").read_text().splitlines()) == 4


@pytest.mark.slow
def test_grid_that_fails_says_why_without_the_place(places: dict[str, Path], tmp_path: Path) -> None:
    grid = [
        "compare",
        places["recipe"],
        "--losses",
        "ce",
        "--noises",
        "none",
        "--seeds",
        0,
        "--out",
        tmp_path / "grid",
    ]
    attack(*grid, "--dataset", places["base"] / "nothing", allowed=(0, 1, 2))
    assert leaks(tmp_path / "grid") == []


@pytest.mark.slow
def test_search_names_them_without_their_place_and_says_how_to_train(
    places: dict[str, Path], tmp_path: Path
) -> None:
    pytest.importorskip("optuna")
    printed = attack(
        "tune",
        places["recipe"],
        "--loss",
        "gce",
        "--trials",
        1,
        "--output_dir",
        tmp_path / "tune",
        allowed=(0,),
    ).printed
    assert leaks(tmp_path / "tune") == []
    assert f"--dataset {places['data']}" in printed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("There is no file '/home/me/x/a.csv'.", "There is no file 'a.csv'."),
        ("see https://huggingface.co/a/b and s3://x/y", "see https://huggingface.co/a/b and s3://x/y"),
        ("(~/x/y.csv) and /tmp/a", "(y.csv) and a"),
        ("train/cat/1.png is broken", "train/cat/1.png is broken"),
        ("1/2 of 3/4, 50 %/s", "1/2 of 3/4, 50 %/s"),
        ("C:\\Users\\me\\a.png", "a.png"),
        ("file:///home/me/a.png", "a.png"),
        ("/home/a b/c d/1.png", "c d/1.png"),
    ],
)
def test_sentence_keeps_names_and_loses_places(text: str, said: str) -> None:
    assert without_paths(text, ["/home/a b/c d"]) == said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("/a/b", "b"),
        ("~/a/b", "b"),
        ("../a/b", "b"),
        ("a/b", "a/b"),
        ("C:\\a\\b", "b"),
        ("local-dir:/a/b", "local-dir:b"),
        ("webvision:/a/b", "webvision:b"),
        ("/", "folder"),
        ("digits", "digits"),
    ],
)
def test_place_is_published_as_its_name(given: str, said: str) -> None:
    assert place_name(given) == said
    assert published_spec(f"benchmark:{given}#task") == f"benchmark:{said}#task"
    assert published_spec(f"human:{given}#worse") == f"human:{said.rpartition('/')[2]}#worse"


def test_config_is_published_without_the_place_of_any_file_that_it_names() -> None:
    paths = {
        name: f"/{SECRET}/{name}"
        for name in ("accelerator_config", "deepspeed", "fsdp_config", "output_dir", "resume_from_checkpoint")
    }
    config = RunConfig.from_recipe(
        "digits", noise=f"matrix:{SECRET}/T.npy,mode=iid", weights=f"/{SECRET}/w.pth", **paths
    )
    public = config.published()
    assert SECRET not in json.dumps(public.to_dict()) + config.command()
    assert {name: public.values[name] for name in paths} == {name: name for name in paths}
    assert public.noise == "matrix:T.npy,mode=iid"
    given = RunConfig.from_recipe("digits", accelerator_config={"split_batches": False})
    assert given.published().values["accelerator_config"] == {"split_batches": False}


def test_noisy_copy_and_benchmark_name_their_files_without_the_place(
    places: dict[str, Path], tmp_path: Path
) -> None:
    np.savez(places["base"] / "flipped.npz", x=np.arange(32) % 2)
    noise = f"labels:{places['base'] / 'flipped.npz'}#x"
    attack("noise", places["data"], "--noise", noise, "--out", tmp_path / "copied", allowed=(0,))
    attack("benchmark", places["data"], "--noise", noise, "--out", tmp_path / "board", allowed=(0,))
    assert [*holding(tmp_path / "copied", SECRET), *holding(tmp_path / "board", SECRET)] == []
    data = load_noisy_dataset(str(tmp_path / "copied"), noise=noise)
    assert not [text for text in data.warnings if "was not added" in text], "it is the noise that is there"
