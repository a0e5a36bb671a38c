"""Specs are read, written back the same, and refused with a sentence that helps."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jal_hf.noise import create_noise, list_noises, noise_info, register_noise
from jal_hf.noise.class_maps import NAMED_MAPS

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
DIGITS = [str(digit) for digit in range(10)]


@pytest.mark.parametrize(
    ("spec", "canonical"),
    [
        ("none", "none"),
        ("symmetric:0.40", "symmetric:0.4"),
        (" Symmetric : .4 , mode = exact", "symmetric:0.4"),
        ("symmetric:0", "symmetric:0"),
        ("symmetric:0.4,mode=iid,include_true_class=yes", "symmetric:0.4,include_true=true,mode=iid"),
        ("asymmetric:0.3", "asymmetric:0.3,classes=cifar10"),
        ("asymmetric:0.3,classes=cat>dog; dog > cat", "asymmetric:0.3,classes=3>5;5>3"),
        ("pairflip:0.45,mode=iid", "pairflip:0.45,mode=iid"),
        ("idn:0.4", "idn:0.4"),
        ("pdn:0.4", "pdn:0.4"),
    ],
)
def test_spec_is_canonical_and_reads_back(spec: str, canonical: str) -> None:
    noise = create_noise(spec, class_names=CIFAR10)
    assert noise.spec == canonical
    again = create_noise(noise.spec, 10)
    assert again.spec == canonical
    first, second = noise.transition_matrix(), again.transition_matrix()
    assert (first is None) == (second is None)
    assert first is None or second is None or np.array_equal(first, second)


@given(rate=st.floats(0, 1, exclude_max=True), kind=st.sampled_from(["symmetric", "pairflip", "idn", "pdn"]))
def test_any_rate_reads_back_bit_equal(rate: float, kind: str) -> None:
    assert create_noise(create_noise(f"{kind}:{rate!r}", 3).spec, 3).rate == rate


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("symetric:0.4", "Did you mean 'symmetric'"),
        ("gauss:0.4", "asymmetric, benchmark, human, idn, labels, matrix, none, pairflip, pdn, symmetric"),
        ("symmetric:1", "at least 0 and below 1"),
        ("symmetric:-0.1", "at least 0 and below 1"),
        ("symmetric:nan", "at least 0 and below 1"),
        ("symmetric:40%", "not a number"),
        ("symmetric", "needs a rate"),
        ("symmetric:", "needs a rate"),
        ("symmetric:0.4,mod=iid", "Did you mean 'mode'"),
        ("symmetric:0.4,mode=idd", "Did you mean 'iid'"),
        ("symmetric:0.4,mode=iid,mode=exact", "twice"),
        ("symmetric:0.4,mode=", "no value"),
        ("symmetric:0.4,include_true_class=maybe", "neither true nor false"),
        ("symmetric:0.4,include_true=maybe", "neither true nor false"),
        ("symmetric:0.4,include_true=true,include_true_class=true", "which are the same; give one"),
        ("asymmetric:0.3,classes=cifar", "Did you mean 'cifar10'"),
        ("asymmetric:0.3,classes=cifar100-block5", "100 classes"),
        ("asymmetric:0.3,classes=cat>dgo", "Did you mean 'dog'"),
        ("asymmetric:0.3,classes=cat>10", "from 0 to 9"),
        ("asymmetric:0.3,classes=cat>cat", "itself"),
        ("asymmetric:0.3,classes=cat>dog;cat>frog", "twice"),
        ("asymmetric:0.3,classes=cat>dog>frog", "FROM>TO"),
        ("asymmetric:0.3,classes=;", "unknown"),
        ("pairflip:0.4,classes=mnist", "no option 'classes'"),
        ("none:0.4", "takes nothing"),
        ("", "names no kind"),
        (":0.4", "names no kind"),
        ("pdn:0.4,mode=exact", "no option 'mode'"),
        ("labels", "needs a file"),
        ("matrix:", "needs a file"),
    ],
)
def test_wrong_spec_is_answered_with_what_exists(spec: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        create_noise(spec, class_names=CIFAR10)


@pytest.mark.parametrize(
    "spec", ["labels:absent.parquet", "matrix:absent.npy", "asymmetric:0.2,classes=absent.json"]
)
def test_absent_file_is_named(spec: str) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        create_noise(spec, 10)


@given(
    kind=st.sampled_from([*list_noises(), "", "x"]),
    tail=st.text(alphabet="0123456789.,=:;>#-+eE modeiidclasses\n\\/\"'{}", max_size=30),
)
def test_mutated_spec_gives_a_noise_or_a_sentence(kind: str, tail: str) -> None:
    try:
        noise = create_noise(f"{kind}{tail}", class_names=CIFAR10)
    except (ValueError, FileNotFoundError) as error:
        sentence = str(error)
    else:
        assert 0 <= noise.rate < 1
        return
    assert sentence.endswith((".", ")"))
    assert len(sentence.split()) >= 5


def test_classes_must_be_known_and_agree() -> None:
    with pytest.raises(ValueError, match="give num_classes"):
        create_noise("symmetric:0.4")
    with pytest.raises(ValueError, match="10 class names but num_classes is 9"):
        create_noise("symmetric:0.4", 9, CIFAR10)
    with pytest.raises(ValueError, match="at least 2"):
        create_noise("symmetric:0.4", 1)
    for classes in ("10", 2.0, [2], math.nan):
        with pytest.raises(TypeError, match=r"num_classes is .*; give an integer"):
            create_noise("symmetric:0.4", num_classes=classes)  # type: ignore[arg-type]
    assert create_noise("symmetric:0.4", num_classes=np.int64(10)).num_classes == 10
    assert create_noise("none").transition_matrix() is None


def test_class_map_is_inferred_only_when_the_classes_leave_no_doubt() -> None:
    def inferred(names: list[str]) -> str:
        return create_noise("asymmetric:0.3", class_names=names).spec.partition("classes=")[2]

    assert inferred(DIGITS) == "mnist"
    assert inferred([f"{digit} - digit" for digit in DIGITS]) == "mnist"
    assert inferred(["plane", "car", *CIFAR10[2:]]) == "cifar10"
    assert inferred([f"class {number}" for number in range(100)]) == "cifar100-block5"
    for names in (CIFAR10[::-1], [f"shirt {number}" for number in range(10)], ["a", "b"]):
        with pytest.raises(ValueError, match="classes=NAME"):
            inferred(names)


def test_class_maps_are_those_of_the_papers() -> None:
    def moves(name: str, num_classes: int) -> dict[int, int]:
        matrix = create_noise(f"asymmetric:0.4,classes={name}", num_classes).transition_matrix()
        assert matrix is not None
        off = matrix - np.diag(np.diag(matrix))
        assert set(off[off > 0]) == {0.4}
        return {int(source): int(target) for source, target in np.argwhere(off > 0)}

    assert moves("mnist", 10) == {7: 1, 2: 7, 5: 6, 6: 5, 3: 8}
    assert moves("cifar10", 10) == {9: 1, 2: 0, 3: 5, 5: 3, 4: 7}
    blocks = moves("cifar100-block5", 100)
    assert blocks == {label: label // 5 * 5 + (label + 1) % 5 for label in range(100)}
    circles = moves("cifar100-superclass", 100)
    assert len(circles) == 100
    assert [circles[label] for label in (4, 30, 55, 72, 95)] == [30, 55, 72, 95, 4]  # aquatic mammals


def test_cifar10_map_at_two_fifths_makes_one_fifth_wrong() -> None:
    labels = np.repeat(np.arange(10), 5000)
    noisy = create_noise("asymmetric:0.4", class_names=CIFAR10).corrupt(labels)
    assert np.mean(noisy != labels) == 0.2
    for source, target in NAMED_MAPS["cifar10"][1].items():
        assert ((labels == source) & (noisy == target)).sum() == 2000


def test_class_names_that_are_numbers_stay_names(tmp_path: Path) -> None:
    shuffled = DIGITS[::-1]  # the class named "9" has id 0
    noise = create_noise("asymmetric:0.3,classes=9>8", class_names=shuffled)
    assert noise.corrupt([0] * 10).tolist().count(1) == 3
    assert create_noise(noise.spec, class_names=shuffled).transition_matrix()[0, 1] == 0.3  # type: ignore[index]


def test_class_map_is_read_from_json(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"cat": "dog", "4": 7}), encoding="utf-8")
    noise = create_noise(f"asymmetric:0.3,classes={path}", class_names=CIFAR10)
    assert noise.spec == "asymmetric:0.3,classes=3>5;4>7"
    for content in ('["cat"]', "{", '{"cat": null}', "{}", '{"cat": true}'):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match="class map"):
            create_noise(f"asymmetric:0.3,classes={path}", class_names=CIFAR10)


def test_kind_cannot_be_registered_twice() -> None:
    with pytest.raises(ValueError, match="registered already"):
        register_noise(noise_info("symmetric"))


@pytest.mark.parametrize("kind", ["Swap", "my noise", "a:b", "a,b", ""])
def test_kind_that_no_spec_can_name_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="small letters"):
        register_noise(replace(noise_info("symmetric"), kind=kind))
    assert kind not in list_noises()
