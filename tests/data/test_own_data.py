"""A person's own images: tables of paths, rows without a label, images that occur twice, noise that nobody knows."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import ExifTags, Image

from jal_hf.data import check_num_classes, file_names, find_duplicates, load_noisy_dataset, make_image_dataset
from jal_hf.data.images.encoded import stored_pictures
from jal_hf.data.labels import label_warnings, read_labels, unlabelled_rows
from jal_hf.ground.image_files import picture
from jal_hf.models.labels import resolve_class_names
from tests.data.conftest import colour_images, encoded, save_picture

NAMES = ["cat", "dog", "NA"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with 12 images in a subfolder."""
    for row in range(12):
        save_picture(tmp_path / "own/photos" / f"{row:02d}.png", row)
    return tmp_path / "own"


def write_table(path: Path, columns: dict[str, Any]) -> str:
    table = pd.DataFrame(columns)
    ending = path.suffix
    if ending == ".parquet":
        table.to_parquet(path)
    elif ending == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, index=False, sep="\t" if ending == ".tsv" else ",")
    return str(path)


def photo_paths(count: int = 12) -> list[str]:
    return [f"photos/{row:02d}.png" for row in range(count)]


TEXTS = [NAMES[row % 3] for row in range(12)]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_table_of_paths_and_labels_is_a_dataset(pictures: Path, ending: str, streams: bool) -> None:
    name = write_table(
        pictures / f"labels.{ending}", {"file": photo_paths(), "label": TEXTS, "age": range(12)}
    )
    data = load_noisy_dataset(name, streaming=streams)
    assert (data.image_column, data.label_column, data.class_names) == ("file", "label", ["NA", "cat", "dog"])
    rows = list(data["train"])
    assert [row["label"] for row in rows] == [1, 2, 0] * 4
    if not streams:
        assert data.file_names("train") == photo_paths()
        kept = [np.asarray(image) for image in stored_pictures(data["train"], "file")]
        assert all(
            np.array_equal(
                image, np.asarray(datasets.Image().decode_example({"bytes": encoded(n), "path": None}))
            )
            for n, image in enumerate(kept)
        )


@pytest.mark.parametrize("labels", [[row % 3 for row in range(12)], TEXTS], ids=["integers", "strings"])
def test_folder_with_a_table_and_tables_named_after_splits(pictures: Path, labels: Sequence[Any]) -> None:
    rows = {"image_path": photo_paths(), "class": list(labels)}
    write_table(pictures / "anything.csv", rows)
    assert len(load_noisy_dataset(str(pictures))["train"]) == 12
    (pictures / "anything.csv").unlink()
    for split, part in (("train", slice(0, 9)), ("val", slice(9, 12))):
        write_table(pictures / f"{split}.csv", {name: column[part] for name, column in rows.items()})
    data = load_noisy_dataset(str(pictures))
    assert (len(data["train"]), len(data["test"]), data.num_classes) == (9, 3, 3)
    assert data.file_names("test") == photo_paths()[9:]


OWN = "path,label\n" + "".join(
    f"{name}/{row}.png,seen {name}\n" for name in ("cat", "dog") for row in range(3)
)


@pytest.fixture
def labelled_folders(tmp_path: Path) -> Path:
    """Class folders whose corrected labels stand in a table beside them, to be written by the test."""
    for number, name in enumerate(("cat", "dog")):
        for row in range(3):
            save_picture(tmp_path / "own" / name / f"{row}.png", 10 * number + row)
    return tmp_path / "own"


@pytest.mark.parametrize(
    "text", [OWN, OWN.replace("label\n", "label\n ,seen dog\n", 1)], ids=["whole", "first cell empty"]
)
def test_table_beside_class_folders_says_the_labels(labelled_folders: Path, text: str) -> None:
    (labelled_folders / "labels.csv").write_text(text)
    (labelled_folders / "classes.csv").write_text("class,name\ncat,Felis\n")
    (labelled_folders / "._labels.csv").write_bytes(b"\0\5\26\7")
    if text != OWN:
        with pytest.raises(ValueError, match=r"1 of 7 image files of labels\.csv are missing.* row 0"):
            load_noisy_dataset(str(labelled_folders))
        return
    data = load_noisy_dataset(str(labelled_folders))
    assert data.class_names == ["seen cat", "seen dog"]
    assert any(
        warning.startswith("'classes.csv' beside the images was not used") for warning in data.warnings
    )


@pytest.mark.parametrize("folders", [True, False], ids=["class folders", "one folder"])
@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"labels.csv": OWN.replace(",", ";")}, r"'labels\.csv' is unclear.*'path;label'.*commas"),
        ({"labels.csv": OWN + "dog/2.png,dog,checked\n"}, r"'labels\.csv' of .* cannot be read"),
        ({"a.csv": OWN, "b.csv": OWN}, r"'a\.csv', 'b\.csv' in .* all name images"),
        ({"train.csv": OWN, "training.csv": OWN}, r"'train\.csv', 'training\.csv' in .* all name images"),
        ({"labels.csv": OWN.replace("cat/0.png", "cat/0.heic")}, r"of 6 image files .* row 0: .*heic"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_table_that_names_images_but_cannot_be_used_is_refused(
    labelled_folders: Path, files: dict[str, str], sentence: str, folders: bool
) -> None:
    if not folders:
        (labelled_folders / "dog").rename(labelled_folders / "cat/dog")
    for name, text in files.items():
        (labelled_folders / name).write_text(text)
    with pytest.raises(ValueError, match=sentence):
        load_noisy_dataset(str(labelled_folders))


@pytest.mark.parametrize("place", [".", "cat"])
def test_table_that_names_no_image_is_said_to_be_unused(labelled_folders: Path, place: str) -> None:
    save_picture(labelled_folders / "cat/more/0.png", 9)
    (labelled_folders / place / "labels.csv").write_text(OWN.replace(".png", ""))
    data = load_noisy_dataset(str(labelled_folders))
    assert (data.class_names, len(data["train"])) == (["cat", "dog"], 7)
    assert any(
        "labels.csv' beside the images was not used; the labels are the names of the folders" in warning
        for warning in data.warnings
    )


def test_images_that_nothing_labels_are_refused_with_what_is_missing(pictures: Path) -> None:
    write_table(pictures / "labels.csv", {"id": range(12), "label": TEXTS})
    with pytest.raises(
        ValueError, match=r"no class folders, and 'labels\.csv' is no table .* endings included"
    ):
        load_noisy_dataset(str(pictures))


def test_paths_may_be_absolute_but_relative_ones_stay_in_the_folder(pictures: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    whole = [str(pictures / path) for path in photo_paths()]
    data = load_noisy_dataset(write_table(elsewhere / "a.csv", {"path": whole, "label": TEXTS}))
    assert len(data["train"]) == 12
    assert data.file_names("train") == whole
    up = [os.path.join("..", "own", path) for path in photo_paths()]
    with pytest.raises(
        ValueError, match=r"Row 0 of 'b\.csv' names '\.\./own/photos/00\.png', which leads out"
    ):
        load_noisy_dataset(write_table(elsewhere / "b.csv", {"path": up, "label": TEXTS}))


def test_image_that_a_table_names_but_is_absent(pictures: Path) -> None:
    for row in range(12, 40):
        save_picture(pictures / "photos" / f"{row:02d}.png", row)
    labels = [NAMES[row % 3] for row in range(40)]
    name = write_table(pictures / "labels.csv", {"path": photo_paths(40), "label": labels})
    (pictures / "photos/05.png").unlink()
    with pytest.raises(
        ValueError, match=r"1 of 40 image files of labels\.csv are missing, the first is row 5"
    ):
        load_noisy_dataset(name)
    data = load_noisy_dataset(name, on_bad_image="skip")
    assert (data.skipped_images, len(data["train"])) == (1, 39)
    assert data["train"]["index"][:] == [*range(5), *range(6, 40)]


def test_column_of_paths_can_be_named(pictures: Path) -> None:
    masks = [path.replace("photos", "masks") for path in photo_paths()]
    table = {"left": photo_paths(), "right": masks, "label": TEXTS}
    name = write_table(pictures / "labels.csv", table)
    with pytest.raises(ValueError, match="image column is unclear"):
        load_noisy_dataset(name)
    assert len(load_noisy_dataset(name, image_column="left")["train"]) == 12


def test_saved_folder_and_objects_load_like_the_table(pictures: Path, tmp_path: Path) -> None:
    name = write_table(pictures / "labels.csv", {"path": photo_paths(), "label": TEXTS})
    table = load_noisy_dataset(name)
    plain = datasets.DatasetDict({"train": table["train"], "test": table["train"].select(range(3))})
    plain.save_to_disk(tmp_path / "saved")
    for given in (str(tmp_path / "saved"), plain, dict(plain)):
        data = load_noisy_dataset(given)
        assert (data.class_names, len(data["train"]), len(data["test"])) == (table.class_names, 12, 3)


def test_frame_may_hold_paths_as_objects_and_says_what_it_cannot_hold(pictures: Path) -> None:
    frame = pd.DataFrame({"image": [pictures / path for path in photo_paths()], "label": TEXTS})
    data = load_noisy_dataset(frame)
    assert data.class_names == ["NA", "cat", "dog"]
    assert data.file_names("train") == [path.removeprefix("photos/") for path in photo_paths()]
    assert isinstance(frame["image"][0], Path)
    with pytest.raises(ValueError, match=r"The DataFrame cannot be read: .*column other"):
        load_noisy_dataset(frame.assign(other=[object()] * 12))


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("none", [-1, None, "", "-1", " "])
def test_unlabelled_rows_are_named_or_left_out_and_counted(pictures: Path, none: Any, streams: bool) -> None:
    labels: list[Any] = [row % 3 if none in (-1, None) else NAMES[row % 3] for row in range(12)]
    labels[2] = labels[7] = none
    path = pictures / "labels.csv"
    name = write_table(path, {"path": photo_paths(), "label": pd.Series(labels, dtype=object)})
    with pytest.raises(
        ValueError, match=r"unlabelled='drop'|empty text|label ('-1'|-1|''|' '|None|nan)|must be integers"
    ):
        list(load_noisy_dataset(name, streaming=streams)["train"])
    data = load_noisy_dataset(name, unlabelled="drop", streaming=streams)
    rows = list(data["train"])
    assert [row["index"] for row in rows] == [0, 1, 3, 4, 5, 6, 8, 9, 10, 11]
    order = [1, 2, 0] if isinstance(labels[0], str) else [0, 1, 2]
    assert [row["label"] for row in rows] == [order[row["index"] % 3] for row in rows]
    if not streams:
        assert data.facts.unlabelled_rows == 2
        assert any("2 row(s) of split 'train' have no label" in warning for warning in data.warnings)
        colour_images(data["train"].rename_column("path", "image"), 16)[0]


def test_hidden_test_labels_leave_no_test_split() -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})

    def split(labels: list[int]) -> datasets.Dataset:
        images = [{"bytes": encoded(seed), "path": None} for seed in range(len(labels))]
        return datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)

    given = {"train": split([0, 1, 1, 0]), "test": split([-1, -1])}
    with pytest.raises(ValueError, match=r"outside \[0, 2\) .such as -1.*unlabelled='drop'"):
        load_noisy_dataset(given)
    data = load_noisy_dataset(given, unlabelled="drop")
    assert "test" not in data
    assert data.facts.unlabelled_rows == 2
    with pytest.raises(ValueError, match="No row of split 'train' has a label"):
        load_noisy_dataset(split([-1, -1]), unlabelled="drop")
    with pytest.raises(ValueError, match="'error' or 'drop'"):
        load_noisy_dataset(given, unlabelled="skip")


@pytest.mark.parametrize("stored", ["files", "bytes"])
def test_equal_images_are_found_across_classes_and_splits(image_folder: Path, stored: str) -> None:
    train, test = image_folder / "train", image_folder / "test"
    (train / "dog/again.png").write_bytes((train / "cat/0.png").read_bytes())  # under two labels
    (train / "cat/twice.png").write_bytes((train / "cat/1.png").read_bytes())  # under one label
    (test / "cat/seen.png").write_bytes((train / "dog/2.png").read_bytes())
    # The same length, other content.
    changed = bytearray((train / "dog/3.png").read_bytes())
    changed[-1] ^= 1
    (train / "dog/changed.png").write_bytes(changed)
    data = load_noisy_dataset(str(image_folder))
    if stored == "bytes":
        rows = {
            name: split.map(
                lambda row: {"image": {"bytes": Path(row["image"]["path"]).read_bytes(), "path": None}}
            )
            for name, split in (
                (n, s.cast_column("image", datasets.Image(decode=False))) for n, s in data.items()
            )
        }
        data = load_noisy_dataset(rows, noise="symmetric:0.4")
    assert (data.facts.contradicting_rows, data.facts.shared_rows) == (2, 1)
    assert any(
        "2 row(s) of split 'train' hold an image that is there under another" in w for w in data.warnings
    )
    assert any("1 row(s) of split 'test' hold an image that is also in 'train'" in w for w in data.warnings)
    groups = find_duplicates({"train": data["train"]}, "image", "label").groups["train"]
    numbers, counts = np.unique(groups[groups >= 0], return_counts=True)
    assert (len(numbers), counts.tolist()) == (2, [2, 2])
    assert (groups < 0).sum() == len(data["train"]) - 4


def test_noise_put_on_labels_makes_no_image_contradict_itself(image_folder: Path) -> None:
    for row in range(6):
        content = (image_folder / f"train/cat/{row}.png").read_bytes()
        (image_folder / f"train/cat/{row}-copy.png").write_bytes(content)
    data = load_noisy_dataset(str(image_folder), noise="symmetric:0.6")
    assert data.facts.contradicting_rows == 0


def test_file_names_start_at_the_dataset_or_are_not_there(image_folder: Path) -> None:
    data = load_noisy_dataset(str(image_folder))
    names = data.file_names("train")
    assert names is not None
    assert names[:2] == ["train/cat/0.png", "train/cat/1.png"]
    shuffled = file_names(data["train"].select([11, 0]), "image")
    assert shuffled == ["dog/5.png", "cat/0.png"]
    assert load_noisy_dataset("digits").file_names("train") is None
    assert load_noisy_dataset(str(image_folder), streaming=True).file_names("train") is None


def test_noise_is_known_only_where_somebody_knows_it(image_folder: Path) -> None:
    own = str(image_folder)
    assert not load_noisy_dataset(own).noise_known
    assert not load_noisy_dataset(own, noise="none").noise_known
    assert not load_noisy_dataset(own, noise="none", streaming=True).noise_known
    assert load_noisy_dataset(own, noise="symmetric:0.4").noise_known
    assert load_noisy_dataset(own, noise="symmetric:0.4,mode=iid", streaming=True).noise_known
    assert not load_noisy_dataset("digits").noise_known
    assert load_noisy_dataset("digits", noise="none").noise_known
    noisy = load_noisy_dataset("digits", noise="symmetric:0.4")
    assert load_noisy_dataset(dict(noisy)).noise_known


def test_more_classes_than_outputs_are_refused() -> None:
    check_num_classes(["a", "b"], 2)
    check_num_classes(["a", "b"], 3)
    with pytest.raises(ValueError, match=r"3 classes .'a', 'b', 'c'. and the model 2 outputs.*num_labels=3"):
        check_num_classes(["a", "b", "c"], 2)


@pytest.mark.parametrize("side", [16, 96])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_photograph_is_seen_as_its_camera_was_held(tmp_path: Path, orientation: int, side: int) -> None:
    pixels = np.zeros((side, side, 3), dtype=np.uint8)
    pixels[: side // 2, :, 0] = 255  # red above in the sensor's rows
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / "turned.png"
    image.save(path, exif=exif)
    rows = datasets.Dataset.from_dict({"image": [str(path)]}).cast_column("image", datasets.Image())
    options: dict[str, Any] = {"image_size": side, "mean": [0.0] * 3, "std": [1.0] * 3}
    batch = make_image_dataset(rows, image_column="image", label_column=None, **options)[0]
    red = batch["pixel_values"][0]
    halves = {1: red[: side // 2], 3: red[side // 2 :], 6: red[:, side // 2 :], 8: red[:, : side // 2]}
    assert {place: float(half.mean()) for place, half in halves.items()}[orientation] == 1.0
    assert red.mean() == 0.5
    shown = np.asarray(stored_pictures(rows, "image")[0])
    assert np.array_equal(shown[:, :, 0] / 255, red.numpy())


def test_a_damaged_exif_block_costs_no_image(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (16, 16), (255, 0, 0)).save(
        path, exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x09\x01\x12broken"
    )
    assert picture({"bytes": None, "path": str(path)}, 0).size == (16, 16)


def test_notes_beside_class_folders_change_nothing_even_for_a_class_called_train(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 2)):
        for number, name in enumerate(("boat", "train")):
            for row in range(count):
                save_picture(tmp_path / split / name / f"{row}.png", 10 * number + row)
    (tmp_path / "notes.json").write_text("{}")
    data = load_noisy_dataset(str(tmp_path))
    assert (len(data["train"]), len(data["test"])) == (6, 4)
    assert all(name.startswith("train/") for name in data.file_names("train") or ["none"])


@pytest.mark.parametrize("name", ["validation", "val", "valid", "dev"])
@pytest.mark.parametrize("form", ["object", "saved"])
def test_own_validation_split_is_used_under_its_usual_names(tmp_path: Path, name: str, form: str) -> None:
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])}
    splits = {}
    for split, first, count in (("train", 0, 20), ("test", 20, 4), (name, 24, 6)):
        images = [{"bytes": encoded(first + row), "path": None} for row in range(count)]
        content = {"image": images, "label": [0, 1] * (count // 2)}
        splits[split] = datasets.Dataset.from_dict(content, features=datasets.Features(kinds))
    given: Any = datasets.DatasetDict(splits)
    if form == "saved":
        given.save_to_disk(str(tmp_path / "saved"))
        given = str(tmp_path / "saved")
    data = load_noisy_dataset(given, val_fraction=0.1, own_validation=True)
    assert {split: len(rows) for split, rows in data.items()} == {"train": 20, "test": 4, "validation": 6}
    assert data["validation"]["index"][:] == list(range(20, 26))
    alone = load_noisy_dataset(given, val_fraction=0.1, own_validation=True, eval_split=name)
    assert {split: len(rows) for split, rows in alone.items()} == {"train": 18, "test": 6, "validation": 2}


def test_last_of_256_classes_is_a_label() -> None:
    """255 of an unsigned byte was once taken for -1, which is no label."""
    labels = pa.array([0, 1, 254, 255], pa.uint8())
    split = datasets.Dataset(pa.table({"label": labels}))
    assert not unlabelled_rows(split, "label").any()
    signed = split.cast_column("label", datasets.Value("int16")).map(lambda row: {"label": row["label"] - 1})
    assert unlabelled_rows(signed, "label").tolist() == [True, False, False, False]


def test_true_classes_that_are_known_in_some_rows_only_are_refused_with_what_helps() -> None:
    images = [{"bytes": encoded(row), "path": None} for row in range(4)]
    content = {"image": images, "label": [0, 1, 0, 1], "clean_label": [0, None, 0, None]}
    split = datasets.Dataset.from_dict(content).cast_column("image", datasets.Image())
    with pytest.raises(
        ValueError, match=r"empty in 2 of 4 rows \(rows 1, 3\).* fill it in, or remove the column"
    ):
        load_noisy_dataset(split)


def test_many_classes_are_checked_in_one_pass() -> None:
    count = 20_000
    names = [f"n{number}" for number in range(count)]
    start = time.process_time()
    assert label_warnings(np.arange(1, count), names, "train") == [
        "1 of 20000 classes never occurs in split 'train': 'n0'."
    ]
    assert resolve_class_names(count, names) == names
    split = datasets.Dataset.from_dict(
        {"label": [0, count - 1]}, features=datasets.Features({"label": datasets.ClassLabel(names=names)})
    )
    assert read_labels(split, "label", "test", names[::-1])[0].tolist() == [count - 1, 0]
    assert time.process_time() - start < 3


def test_names_of_classes_that_differ_by_blanks_or_capitals_are_said() -> None:
    """Three spellings of one animal became three classes without a word."""
    names = ["Cat", "Tom  cat", "cat", "cat ", "dog", "tom cat"]
    assert label_warnings(np.arange(6), names, "train") == [
        "Classes whose names differ by blanks or capitals alone are trained as different ones: 'Cat' and 'cat' and "
        "'cat '; 'Tom  cat' and 'tom cat'. Where they are meant to be one, correct the labels."
    ]
    assert label_warnings(np.arange(3), ["cat", "dog", "catdog"], "train") == []
