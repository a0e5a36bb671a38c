"""Class maps of asymmetric noise: which class is mistaken for which.

The named maps are those of the papers' tables. `cifar100-block5` turns within blocks of five consecutive
fine ids, as the codes behind the tables do; fine ids are alphabetical, so these blocks are not CIFAR-100's
20 super-classes, which `cifar100-superclass` turns within.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jal_hf.ground.sentences import did_you_mean

# Fine ids of CIFAR-100's 20 super-classes (Krizhevsky 2009), in the order of the coarse ids.
_SUPERCLASSES = (
    (4, 30, 55, 72, 95), (1, 32, 67, 73, 91), (54, 62, 70, 82, 92), (9, 10, 16, 28, 61),
    (0, 51, 53, 57, 83), (22, 39, 40, 86, 87), (5, 20, 25, 84, 94), (6, 7, 14, 18, 24),
    (3, 42, 43, 88, 97), (12, 17, 37, 68, 76), (23, 33, 49, 60, 71), (15, 19, 21, 31, 38),
    (34, 63, 64, 66, 75), (26, 45, 77, 79, 99), (2, 11, 35, 46, 98), (27, 29, 44, 78, 93),
    (36, 50, 65, 74, 80), (47, 52, 56, 59, 96), (8, 13, 48, 58, 90), (41, 69, 81, 85, 89),
)  # fmt: skip


def _rotate(groups: Sequence[Sequence[int]]) -> dict[int, int]:
    return {group[i]: group[(i + 1) % len(group)] for group in groups for i in range(len(group))}


NAMED_MAPS: Mapping[str, tuple[int, Mapping[int, int]]] = {
    "mnist": (10, {7: 1, 2: 7, 5: 6, 6: 5, 3: 8}),
    "cifar10": (10, {9: 1, 2: 0, 3: 5, 5: 3, 4: 7}),
    "cifar100-block5": (100, _rotate([range(start, start + 5) for start in range(0, 100, 5)])),
    "cifar100-superclass": (100, _rotate(_SUPERCLASSES)),
}

_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR10_SYNONYMS = {"plane": "airplane", "aeroplane": "airplane", "car": "automobile"}


def infer_class_map(num_classes: int, class_names: Sequence[str] | None) -> str | None:
    """Name of the map that the classes leave no doubt about, or None."""
    if num_classes == 100:
        return "cifar100-block5"
    if num_classes != 10 or class_names is None:
        return None
    names = [str(name).strip().lower() for name in class_names]
    if tuple(_CIFAR10_SYNONYMS.get(name, name) for name in names) == _CIFAR10:
        return "cifar10"
    if all(re.fullmatch(rf"{digit}(\W.*)?", name) for digit, name in enumerate(names)):
        return "mnist"
    return None


def resolve_class_map(
    text: str | None, num_classes: int, class_names: Sequence[str] | None
) -> tuple[str, dict[int, int]]:
    """Read the `classes` option: a known name, `cat>dog;dog>cat` by name or id, or a JSON file of pairs.

    Returns:
        The canonical text and the map from clean class id to the class it is mistaken for.

    Raises:
        ValueError: The map is unknown or does not fit; the sentence says what exists.
        FileNotFoundError: The JSON file is absent.
    """
    if text is None:
        text = infer_class_map(num_classes, class_names)
        if text is None:
            raise ValueError(
                f"Which classes asymmetric noise confuses is not clear for these {num_classes} classes; add "
                f"classes=NAME with one of {', '.join(NAMED_MAPS)}, or your own, such as "
                "classes=cat>dog;dog>cat."
            )
    if text.lower() in NAMED_MAPS:
        expected, named = NAMED_MAPS[text.lower()]
        if num_classes != expected:
            raise ValueError(
                f"The class map {text!r} is for {expected} classes, the dataset has {num_classes}."
            )
        return text.lower(), dict(named)
    if text.lower().endswith(".json"):
        pairs = _read_pairs(Path(text))
    elif ">" in text:
        pairs = [_split_pair(piece, text) for piece in text.split(";") if piece.strip()]
    else:
        raise ValueError(
            f"The class map {text!r} is unknown.{did_you_mean(text, NAMED_MAPS)} There are "
            f"{', '.join(NAMED_MAPS)}; or write your own as classes=cat>dog;dog>cat (names or ids), or name "
            "a .json file."
        )
    mapping: dict[int, int] = {}
    for source, target in pairs:
        source_id = class_id(source, num_classes, class_names)
        target_id = class_id(target, num_classes, class_names)
        if source_id == target_id:
            raise ValueError(f"The class map sends {source!r} to itself; leave such a class out.")
        if source_id in mapping:
            raise ValueError(f"The class map gives {source!r} twice; each class goes to one other class.")
        mapping[source_id] = target_id
    if not mapping:
        raise ValueError(f"The class map {text!r} holds no pair; write it as cat>dog;dog>cat.")
    return ";".join(f"{_token(a, class_names)}>{_token(b, class_names)}" for a, b in mapping.items()), mapping


def class_id(token: str, num_classes: int, class_names: Sequence[str] | None) -> int:
    """Id of a class given by name (tried first) or by number."""
    names = list(class_names or ())
    if token in names:
        return names.index(token)
    if re.fullmatch(r"[0-9]+", token):
        if int(token) < num_classes:
            return int(token)
        raise ValueError(f"The class map names class {token}; ids go from 0 to {num_classes - 1}.")
    if not names:
        raise ValueError(
            f"The class map names {token!r}, but the names of the classes are unknown; give ids."
        )
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    raise ValueError(
        f"The class map names {token!r}, which is no class.{did_you_mean(token, names)} Classes: {shown}."
    )


def _token(label: int, class_names: Sequence[str] | None) -> str:
    """The id, unless another class bears it as its name."""
    names = list(class_names or ())
    return names[label] if str(label) in names and names.index(str(label)) != label else str(label)


def _split_pair(piece: str, text: str) -> tuple[str, str]:
    parts = [part.strip() for part in piece.split(">")]
    if len(parts) != 2 or not all(parts):
        raise ValueError(
            f"The class map {text!r} holds {piece!r}; write each pair as FROM>TO, pairs split by ';'."
        )
    return parts[0], parts[1]


def _read_pairs(path: Path) -> list[tuple[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"The class map file {str(path)!r} does not exist.")
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"The class map file {str(path)!r} is not JSON: {error}.") from error
    if not isinstance(content, dict) or any(
        isinstance(value, bool) or not isinstance(value, str | int) for value in content.values()
    ):
        raise ValueError(
            f'The class map file {str(path)!r} must hold pairs such as {{"cat": "dog", "dog": "cat"}}.'
        )
    return [(str(source), str(target)) for source, target in content.items()]
