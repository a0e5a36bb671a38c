"""WebVision 1.0 (google subset) and the ILSVRC12 validation images of the same classes, as published.

    FOLDER/info/train_filelist_google.txt   lines 'google/q0001/xxx.jpg 0'
    FOLDER/info/val_filelist.txt            lines 'val000001.jpg 650'
    FOLDER/info/synsets.txt                 lines 'n01440764 tench, Tinca tinca', in class order
    FOLDER/google/...  FOLDER/val_images_256/...
    FOLDER/imagenet/val/n01440764/*.JPEG    optional, or where `?imagenet=` points

Reference: Li et al., WebVision Database: Visual Learning and Understanding from Web Data, 2017.
WebVision-mini is its first 50 classes (Jiang et al., MentorNet, ICML 2018).
"""

from __future__ import annotations

from pathlib import Path

import datasets

from jal_hf.data.readers.listed_images import ListedImages, count_warnings, read_label_list
from jal_hf.data.readers.source import Source
from jal_hf.ground.image_files import has_image_ending, regular_files

TRAIN_LIST = "info/train_filelist_google.txt"
_ALL_CLASSES = 1000
_MINI_CLASSES = 50
_PUBLISHED = {"train": 65_944, "validation": 2_500, "ilsvrc12": 2_500}
_VAL_FOLDERS = ("val_images_256", "val_images_resized", "val_images", "val")
_IMAGENET_FOLDERS = ("imagenet/val", "imagenet/img_val", "imagenet", "ILSVRC2012/val", "ILSVRC2012_img_val")


def is_webvision(path: Path) -> bool:
    """Whether a folder has WebVision's lists."""
    return (path / TRAIN_LIST).is_file()


def read_webvision(
    name: str,
    path: Path,
    *,
    classes: int = _MINI_CLASSES,
    imagenet: Path | None = None,
    on_bad_image: str = "error",
) -> Source:
    """Splits `train`, `test` (WebVision validation) and, where its images are there, `ilsvrc12`.

    Args:
        name: for the record.
        path: the folder.
        classes: the first so many classes; 50 is WebVision-mini.
        imagenet: folder with one subfolder a synset; default: looked for in `path`.
        on_bad_image: `error` or `skip`, for absent files.

    Raises:
        FileNotFoundError: a list or folder is missing.
        ValueError: not between 2 and 1,000 classes, or absent images.
    """
    if not 2 <= classes <= _ALL_CLASSES:
        raise ValueError(f"WebVision has 1000 classes; classes={classes} is not between 2 and 1000.")
    train = read_label_list(path / TRAIN_LIST, _ALL_CLASSES)
    test = read_label_list(path / "info/val_filelist.txt", _ALL_CLASSES)
    synsets, names = _synsets(path / "info/synsets.txt", classes)
    builder = ListedImages(names, on_bad_image)
    if not synsets:
        builder.warnings.append(
            "info/synsets.txt is missing, so classes are named by number and ILSVRC12 is left out."
        )
    splits = {}
    test_root = _first_folder(path, _VAL_FOLDERS)
    for split, lines, root, label in (
        ("train", train, path, "train_filelist_google.txt"),
        ("test", test, test_root, "val_filelist.txt"),
    ):
        kept = [row for row, number in enumerate(lines.labels) if number < classes]
        paths = [root / lines.paths[row] for row in kept]
        published = (
            _PUBLISHED["train" if split == "train" else "validation"] if classes == _MINI_CLASSES else None
        )
        builder.warnings += count_warnings(label, len(kept), published, lines.malformed)
        splits[split] = builder.split(label, paths, [lines.labels[row] for row in kept])
    if imagenet is not None and not imagenet.is_dir():
        raise FileNotFoundError(f"There is no folder {str(imagenet)!r} with ILSVRC12 validation images.")
    second = imagenet or _optional_folder(path, _IMAGENET_FOLDERS)
    if second is not None and synsets:
        splits["ilsvrc12"] = _ilsvrc12(builder, second, synsets, classes)
    more = tuple(split for split in ("ilsvrc12",) if split in splits)
    return Source(name, splits, "train", "test", builder.missing, tuple(builder.warnings), more_tests=more)


def _ilsvrc12(builder: ListedImages, root: Path, synsets: list[str], classes: int) -> datasets.Dataset:
    """Validation images in synset folders, with WebVision's class ids (which are those of ILSVRC12)."""
    absent = [synset for synset in synsets if not (root / synset).is_dir()]
    if absent:
        raise FileNotFoundError(
            f"The ILSVRC12 folder {str(root)!r} lacks {len(absent)} of {classes} synset folders, such as "
            f"{absent[0]!r}; it must hold one folder of validation images a synset."
        )
    paths: list[Path] = []
    labels: list[int] = []
    for label, synset in enumerate(synsets):
        for file in sorted(regular_files(root / synset)):
            if has_image_ending(file):
                paths.append(root / synset / file)
                labels.append(label)
    published = _PUBLISHED["ilsvrc12"] if classes == _MINI_CLASSES else None
    builder.warnings += count_warnings("ILSVRC12 validation", len(paths), published, 0)
    return builder.split("ILSVRC12 validation", paths, labels)


def _synsets(path: Path, classes: int) -> tuple[list[str], list[str]]:
    """Synset ids and class names of the first classes; ids empty where the file is missing or too short."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    parts = [line.strip().partition(" ") for line in lines if line.strip()][:classes]
    if len(parts) < classes:
        return [], [str(number) for number in range(classes)]
    synsets = [synset for synset, _, _ in parts]
    # Two of the 1,000 first words are shared (crane, maillot), so the synset stands beside the word.
    names = [f"{synset} {words.split(',')[0].strip()}".strip() for synset, _, words in parts]
    return synsets, names


def _optional_folder(path: Path, names: tuple[str, ...]) -> Path | None:
    return next((path / name for name in names if (path / name).is_dir()), None)


def _first_folder(path: Path, names: tuple[str, ...]) -> Path:
    folder = _optional_folder(path, names)
    if folder is None:
        raise FileNotFoundError(
            f"{str(path)!r} has no folder of validation images; it is called {names[0]!r}."
        )
    return folder
