"""Folders, shards and published sets, each read in the form it has on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jal_hf.data import load_noisy_dataset
from jal_hf.data.text import load_text_dataset
from tests.data.conftest import encoded, save_picture


def test_image_folder_classes_are_the_folder_names(image_folder: Path) -> None:
    data = load_noisy_dataset(str(image_folder))
    assert data.class_names == ["cat", "dog"]
    assert (len(data["train"]), len(data["test"])) == (12, 4)
    assert data["train"][0]["image"].size == (16, 16)


def test_image_folder_val_is_tested_on_when_there_is_no_test(image_folder: Path) -> None:
    (image_folder / "test").rename(image_folder / "val")
    assert len(load_noisy_dataset(str(image_folder))["test"]) == 4


def test_image_folder_without_splits_is_all_training(image_folder: Path) -> None:
    data = load_noisy_dataset(str(image_folder / "train"), val_fraction=0.5)
    assert (len(data["train"]), len(data["validation"])) == (6, 6)
    assert "test" not in data


def test_image_folder_class_unseen_in_training_is_refused(image_folder: Path) -> None:
    save_picture(image_folder / "test/fox/0.png", 1)
    with pytest.raises(ValueError, match="'fox'"):
        load_noisy_dataset(str(image_folder))


def test_image_folder_other_files_are_counted(image_folder: Path) -> None:
    (image_folder / "train/cat/notes.txt").write_text("x")
    assert any("1 file(s)" in warning for warning in load_noisy_dataset(str(image_folder)).warnings)


def test_folders_that_programs_leave_behind_are_no_data(image_folder: Path) -> None:
    plain = load_noisy_dataset(str(image_folder))
    for name in ("cat", "dog"):
        save_picture(image_folder / "train" / name / ".ipynb_checkpoints/0-checkpoint.png", 50)
        save_picture(image_folder / "train" / name / "@eaDir/0.png/THUMB_M.jpg", 51)
    save_picture(image_folder / "train/__MACOSX/cat/0.png", 52)
    save_picture(image_folder / "__MACOSX/cat/0.png", 53)
    data = load_noisy_dataset(str(image_folder))
    assert data.class_names == ["cat", "dog"]
    assert data.file_names("train") == plain.file_names("train")
    assert data.warnings == plain.warnings


def test_linked_folders_inside_a_class_are_counted(image_folder: Path, tmp_path: Path) -> None:
    save_picture(tmp_path / "store/0.png", 1)
    (image_folder / "train/cat/more").symlink_to(tmp_path / "store")
    data = load_noisy_dataset(str(image_folder))
    assert len(data["train"]) == 12
    assert any("1 linked folder(s) inside the classes of 'train'" in warning for warning in data.warnings)


@pytest.mark.parametrize("name", ["eval", "Evaluation"])
def test_image_folder_eval_is_a_split_and_other_folders_are_said_to_be_none(
    image_folder: Path, name: str
) -> None:
    (image_folder / "test").rename(image_folder / name)
    save_picture(image_folder / "extra/cat/0.png", 1)
    data = load_noisy_dataset(str(image_folder))
    assert len(data["test"]) == 4
    assert any("Images in 'extra'" in warning for warning in data.warnings)


@pytest.mark.parametrize("names", [("control", "test"), ("dev", "prod"), ("invalid", "valid")])
def test_class_named_like_a_split_is_a_class(tmp_path: Path, names: tuple[str, str]) -> None:
    for number, name in enumerate(names):
        for row in range(3):
            save_picture(tmp_path / "own" / name / f"{row}.png", 10 * number + row)
    data = load_noisy_dataset(str(tmp_path / "own"))
    assert (data.class_names, len(data["train"])) == (list(names), 6)


def test_two_folders_of_one_split_are_refused(image_folder: Path) -> None:
    save_picture(image_folder / "val/cat/0.png", 1)
    save_picture(image_folder / "valid/cat/0.png", 2)
    with pytest.raises(ValueError, match=r"'val' and 'valid' in .* the split 'validation'"):
        load_noisy_dataset(str(image_folder))


def test_parquet_folder_of_plain_structs_is_read_as_images(tmp_path: Path) -> None:
    rows = [{"bytes": encoded(seed), "path": None} for seed in range(8)]
    table = pa.table({"img": rows, "fine_label": ["b", "a"] * 4})
    (tmp_path / "data").mkdir()
    pq.write_table(table, tmp_path / "data/train-00000.parquet")
    pq.write_table(table.slice(0, 2), tmp_path / "data/test-00000.parquet")
    data = load_noisy_dataset(str(tmp_path / "data"))
    assert (data.image_column, data.label_column, data.class_names) == ("img", "fine_label", ["a", "b"])
    assert data["train"]["fine_label"][:4] == [1, 0, 1, 0]
    assert any("also in 'train'" in warning and "2 row" in warning for warning in data.warnings)


def test_folders_of_one_name_whose_readme_lists_their_files_keep_their_own_rows(tmp_path: Path) -> None:
    """`datasets` caches such a folder under its name and that list alone."""
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])}
    )
    listed = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/*\n---\n"

    def labels_after(folder: Path, labels: list[int]) -> list[int]:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        (folder / "README.md").write_text(listed)
        rows = {"image": [{"bytes": encoded(number), "path": None} for number in range(4)], "label": labels}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(str(folder / "data" / "train.parquet"))
        return list(load_noisy_dataset(str(folder))["train"]["label"])

    assert labels_after(tmp_path / "first" / "noisy", [0, 1, 2, 0]) == [0, 1, 2, 0]
    assert labels_after(tmp_path / "second" / "noisy", [2, 2, 1, 0]) == [2, 2, 1, 0]
    assert labels_after(tmp_path / "second" / "noisy", [1, 1, 0, 2]) == [1, 1, 0, 2], "written anew"


def test_tar_shards_in_a_folder_give_splits_by_name(write_tar: Callable[..., Path]) -> None:
    write_tar("train-0.tar", [0, 1, 2])
    write_tar("train-1.tar", [2, 1, 0], first=3)
    folder = write_tar("test-0.tar", [1, 2], first=9).parent
    data = load_noisy_dataset(str(folder))
    assert data["train"]["label"][:] == [0, 1, 2, 2, 1, 0]
    assert data["train"]["index"][:] == list(range(6))
    assert data["test"]["label"][:] == [1, 2]


def test_tar_shards_by_glob_take_labels_from_json(write_tar: Callable[..., Path]) -> None:
    folder = write_tar("a-0.tar", ["cat", "dog"] * 2, form="json").parent
    data = load_noisy_dataset(str(folder / "a-*.tar"))
    assert data.class_names == ["cat", "dog"]


def test_tar_shard_cut_short_is_refused_by_name(write_tar: Callable[..., Path]) -> None:
    path = write_tar("train-0.tar", [0, 1, 2])
    path.write_bytes(path.read_bytes()[:1800])
    with pytest.raises(ValueError, match=r"train-0\.tar"):
        load_noisy_dataset(str(path.parent))


def test_archive_beside_class_folders_is_no_data_and_pictures_beside_shards_are_none(
    image_folder: Path, write_tar: Callable[..., Path]
) -> None:
    shards = write_tar("train-0.tar", [0, 1, 1]).parent
    (image_folder / "pets.tar").write_bytes((shards / "train-0.tar").read_bytes())
    data = load_noisy_dataset(str(image_folder))
    assert (data.class_names, len(data["train"])) == (["cat", "dog"], 12)
    assert any(warning.startswith("'pets.tar' beside the images") for warning in data.warnings)
    save_picture(shards / "assets/logo.png", 1)
    assert len(load_noisy_dataset(str(shards))["train"]) == 3


def test_webvision_takes_the_first_fifty_classes_and_counts_lines(webvision: Path) -> None:
    data = load_noisy_dataset(f"webvision:{webvision}")
    assert data.num_classes == 50
    assert data.class_names[1] == "n00000001 word1"
    assert data["train"]["label"][:] == [0] * 4 + [1] * 4
    assert data["test"]["label"][:] == [0, 1]
    text = " ".join(data.warnings)
    assert "8 images; the published set has 65,944" in text
    assert "2 malformed line(s) of train_filelist_google.txt" in text


def test_webvision_folder_is_recognised_without_its_prefix(webvision: Path) -> None:
    assert load_noisy_dataset(str(webvision)).num_classes == 50


def test_webvision_ilsvrc12_split_has_the_same_class_ids(webvision: Path) -> None:
    data = load_noisy_dataset(f"webvision:{webvision}", eval_split="ilsvrc12")
    assert data["test"]["label"][:] == list(range(50))
    assert any("ILSVRC12 validation has 50 images" in warning for warning in data.warnings)


def test_webvision_keeps_ilsvrc12_beside_its_own_test_split(webvision: Path) -> None:
    data = load_noisy_dataset(f"webvision:{webvision}")
    assert (len(data["test"]), len(data["ilsvrc12"])) == (2, 50)


def test_webvision_missing_synset_folder_is_named(webvision: Path) -> None:
    folder = webvision / "imagenet/val/n00000007"
    folder.rename(webvision / "elsewhere")
    with pytest.raises(FileNotFoundError, match="n00000007"):
        load_noisy_dataset(f"webvision:{webvision}")


def test_clothing1m_trains_on_noisy_and_tests_on_clean_lists(clothing1m: Path) -> None:
    data = load_noisy_dataset(f"clothing1m:{clothing1m}")
    assert data.class_names[8] == "Down Coat"
    assert data["train"]["label"][:] == [row % 14 for row in range(28)]
    assert (len(data["train"]), len(data["test"])) == (28, 6)
    text = " ".join(data.warnings)
    assert "28 images; the published set has 1,000,000" in text
    assert "1 malformed line(s) of noisy_label_kv.txt" in text


def test_clothing1m_clean_validation_list_can_be_tested_on(clothing1m: Path) -> None:
    assert len(load_noisy_dataset(str(clothing1m), eval_split="validation")["test"]) == 4


def test_listed_image_that_is_absent_is_an_error_unless_skipped(clothing1m: Path) -> None:
    (clothing1m / "images/0/03/3,0.jpg").unlink()
    with pytest.raises(ValueError, match="row 3"):
        load_noisy_dataset(str(clothing1m))
    data = load_noisy_dataset(str(clothing1m), on_bad_image="skip")
    assert data.skipped_images == 1
    assert 3 not in data["train"]["index"][:]


def test_unknown_names_say_what_a_dataset_can_be(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Hub id"):
        load_noisy_dataset(str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match="webvision"):
        load_noisy_dataset("webvision:/absent/folder")


def test_dataset_objects_are_taken_as_they_are() -> None:
    rows = {"image": [{"bytes": encoded(seed), "path": None} for seed in range(4)], "label": [0, 1, 1, 0]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    data = load_noisy_dataset(datasets.Dataset.from_dict(rows, features=features))
    assert data.class_names == ["0", "1"]


def test_image_folder_class_is_the_top_folder_whatever_lies_below(image_folder: Path) -> None:
    for name in ("cat", "dog"):
        save_picture(image_folder / "train" / name / "more/deep/9.png", 77)
    data = load_noisy_dataset(str(image_folder))
    assert data.class_names == ["cat", "dog"]
    assert data["train"]["label"][:] == [0] * 7 + [1] * 7


def test_tar_shards_take_class_names_and_mixed_endings(write_tar: Callable[..., Path]) -> None:
    write_tar("train-0.tar", ["cat", "dog"])
    folder = write_tar("train-1.tar", ["dog", "cat"], first=2, form="json").parent
    data = load_noisy_dataset(str(folder))
    assert data.class_names == ["cat", "dog"]
    assert data["train"]["label"][:] == [0, 1, 1, 0]


@pytest.mark.parametrize("kind", ["labels.csv", "labels.parquet", "images.parquet", "shard.tar"])
def test_brackets_in_the_name_of_a_folder_are_letters(
    kind: str, tmp_path: Path, write_tar: Callable[..., Path]
) -> None:
    folder = tmp_path / "my data [v2] *"
    folder.mkdir()
    table = datasets.Dataset.from_dict({"path": [f"{row}.png" for row in range(4)], "label": ["a", "b"] * 2})
    for row in range(4):
        save_picture(folder / f"{row}.png", row)
    if kind == "shard.tar":
        (folder / kind).write_bytes(write_tar("train-0.tar", ["a", "b", "a", "b"]).read_bytes())
    elif kind == "labels.csv":
        table.to_csv(folder / kind)
    else:
        inside = {
            "path": [{"bytes": encoded(row), "path": None} for row in range(4)],
            "label": table["label"][:],
        }
        rows = table if kind == "labels.parquet" else datasets.Dataset.from_dict(inside)
        rows.to_parquet(folder / kind)
    data = load_noisy_dataset(str(folder / kind))
    assert (data.class_names, len(data["train"])) == (["a", "b"], 4)
    if kind.startswith("labels"):
        assert len(load_noisy_dataset(str(folder))["train"]) == 4
    if kind == "images.parquet":
        with pytest.raises(ValueError, match=r"name of the folder .*\[v2\].* patterns.*another name"):
            load_noisy_dataset(str(folder))


@pytest.mark.parametrize("form", ["csv", "object"])
def test_text_beside_names_of_pictures_opens_none_of_them(tmp_path: Path, form: str) -> None:
    rows = {
        "file_name": [f"{number}.jpg" for number in range(8)],
        "text": [f"a review of picture {number}" for number in range(8)],
        "label": ["good", "bad"] * 4,
    }
    table = datasets.Dataset.from_dict(rows)
    if form == "csv":
        table.to_csv(tmp_path / "reviews.csv")
    loaded = load_text_dataset(str(tmp_path / "reviews.csv") if form == "csv" else table)
    assert loaded["train"]["text"][:] == rows["text"]
    assert loaded.class_names == ["bad", "good"]
