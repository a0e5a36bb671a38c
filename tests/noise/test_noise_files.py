"""Matrices and label vectors from files: read in every format, refused when unfit, never unpickled."""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jal_hf.noise import create_noise, noise_report

CLEAN = np.arange(60) % 3
NOISY = np.where(np.arange(60) % 5 == 0, (CLEAN + 1) % 3, CLEAN)


def write_parquet(path: Path, columns: dict[str, Any]) -> None:
    pq.write_table(pa.table(columns), path)


def write_csv(path: Path, columns: dict[str, Any]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(list(values) for values in columns.values()), strict=True))


def write_json(path: Path, columns: dict[str, Any]) -> None:
    path.write_text(
        json.dumps({name: list(map(int, values)) for name, values in columns.items()}), encoding="utf-8"
    )


def write_records(path: Path, columns: dict[str, Any]) -> None:
    rows = [dict(zip(columns, map(int, row), strict=True)) for row in zip(*columns.values(), strict=True)]
    path.write_text(json.dumps(rows), encoding="utf-8")


def write_npz(path: Path, columns: dict[str, Any]) -> None:
    np.savez(path, **columns)


def write_structured(path: Path, columns: dict[str, Any]) -> None:
    np.save(path, np.rec.fromarrays(list(columns.values()), names=list(columns)))


WRITERS: list[tuple[str, Callable[[Path, dict[str, Any]], None]]] = [
    ("labels.parquet", write_parquet),
    ("labels.csv", write_csv),
    ("labels.json", write_json),
    ("records.json", write_records),
    ("labels.npz", write_npz),
    ("labels.npy", write_structured),
]


@pytest.mark.parametrize(("name", "write"), WRITERS)
@pytest.mark.parametrize("kind", ["labels", "human"])
def test_labels_are_read_from_every_format(name: str, write: Any, kind: str, tmp_path: Path) -> None:
    write(tmp_path / name, {"clean_label": CLEAN, "worse": NOISY})
    for spec in (f"{kind}:{tmp_path / name}#worse", f"{kind}:{tmp_path / name}"):
        noise = create_noise(spec, 3)
        assert np.array_equal(noise.corrupt(CLEAN), NOISY)
        assert create_noise(noise.spec).spec == noise.spec == spec
    report = noise_report(CLEAN, NOISY, noise)
    assert (report.asked_rate, report.realised_rate, report.mode) == (0.2, 0.2, "fixed")


@pytest.mark.parametrize("name", ["labels.npy", "labels.json", "labels.csv"])
def test_nameless_vector_needs_no_column(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if path.suffix == ".npy":
        np.save(path, NOISY.astype(np.int8))
    elif path.suffix == ".csv":
        path.write_text("\n".join(map(str, NOISY)), encoding="utf-8")
    else:
        path.write_text(json.dumps(NOISY.tolist()), encoding="utf-8")
    noise = create_noise(f"labels:{path}", 3)
    assert np.array_equal(noise.corrupt(CLEAN), NOISY)
    assert noise_report(CLEAN, NOISY, noise).asked_rate == 0.2
    with pytest.raises(ValueError, match="leave '#' out"):
        create_noise(f"labels:{path}#worse", 3)


def test_class_names_are_read_as_labels(tmp_path: Path) -> None:
    write_parquet(tmp_path / "names.parquet", {"given": ["dog", "cat", "cat"]})
    spec = f"labels:{tmp_path / 'names.parquet'}"
    assert create_noise(spec, class_names=["cat", "dog"]).corrupt([0, 0, 1]).tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match=r"names 'cat', which is no class. Did you mean 'cab'"):
        create_noise(spec, class_names=["cab", "dog"])


@pytest.mark.parametrize(
    ("names", "fields", "ids"),
    [
        (["001", "002", "003"], ["002", "001", "001"], [1, 0, 0]),
        (["1", "2", "3"], ["3", "1", "2"], [2, 0, 1]),
        (["0", "1", "2"], ["2", "0", "1"], [2, 0, 1]),
        (["true", "false"], ["false", "true", "true"], [1, 0, 0]),
        (["2020-01-01", "1.50"], ["1.50", "2020-01-01", "1.50"], [1, 0, 1]),
        (["null", "NaN"], ["NaN", "null", "NaN"], [1, 0, 1]),
        (["0", "1", "10", "2"], ["3", "1", "0"], [3, 1, 0]),
        (["cat", "dog"], ["1", "0", "0"], [1, 0, 0]),
    ],
)
def test_csv_holds_names_that_look_like_values(
    names: list[str], fields: list[str], ids: list[int], tmp_path: Path
) -> None:
    write_csv(tmp_path / "l.csv", {"clean_label": fields, "given": fields})
    noise = create_noise(f"labels:{tmp_path / 'l.csv'}#given", class_names=names)
    assert noise.corrupt(ids).tolist() == ids
    assert noise.rate == 0.0


def test_csv_of_numbers_that_are_names_and_ids_is_refused(tmp_path: Path) -> None:
    names, fields = ["0", "1", "10", "2"], ["0", "1", "2", "1"]
    write_csv(tmp_path / "l.csv", {"given": fields})
    with pytest.raises(ValueError, match=r"holds 2 in row 2, the name of class 3 and the id of class '10'"):
        create_noise(f"labels:{tmp_path / 'l.csv'}", class_names=names)
    for column, ids in ((fields, [0, 1, 3, 1]), ([0, 1, 2, 1], [0, 1, 2, 1])):
        write_parquet(tmp_path / "l.parquet", {"given": column})
        noise = create_noise(f"labels:{tmp_path / 'l.parquet'}", class_names=names)
        assert noise.corrupt([0] * 4).tolist() == ids


def test_rows_are_found_by_index(tmp_path: Path) -> None:
    write_parquet(tmp_path / "l.parquet", {"clean_label": CLEAN, "worse": NOISY})
    noise = create_noise(f"labels:{tmp_path / 'l.parquet'}#worse", 3)
    some = np.array([50, 3, 17, 0])
    assert np.array_equal(noise.corrupt(CLEAN[some], index=some), NOISY[some])
    with pytest.raises(TypeError, match="row number"):
        noise.corrupt(CLEAN[:2], index=["a", "b"])
    with pytest.raises(ValueError, match="asks for row 60"):
        noise.corrupt(CLEAN[:1], index=[60])


def test_row_number_below_zero_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", NOISY)
    noise = create_noise(f"labels:{tmp_path / 'labels.npy'}", num_classes=3)
    with pytest.raises(ValueError, match="for row -1; row numbers begin at 0"):
        noise.corrupt(CLEAN[:2], index=[0, -1])
    noise.image_hashes = ["a"] * 60
    with pytest.raises(ValueError, match="for row -2; row numbers begin at 0"):
        noise.check_images(["a", "a"], [-2, 0])
    assert (
        noise.corrupt(CLEAN[:2], index=np.array([0, 5], dtype=np.uint64)).tolist() == NOISY[[0, 5]].tolist()
    )


def test_file_in_another_order_or_of_another_length_is_refused(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(60)
    write_parquet(tmp_path / "l.parquet", {"clean_label": CLEAN[order], "worse": NOISY[order]})
    noise = create_noise(f"labels:{tmp_path / 'l.parquet'}#worse", 3)
    wrong = int((CLEAN[order] != CLEAN).sum())
    with pytest.raises(ValueError, match=rf"differ from the dataset's in {wrong} of 60 rows"):
        noise.corrupt(CLEAN)
    with pytest.raises(ValueError, match="has 60 labels, the dataset has 59 rows"):
        noise.corrupt(CLEAN[:59])
    with pytest.raises(ValueError, match="has 60 labels, the dataset has 61 rows"):
        noise.check_rows(61)


@pytest.mark.parametrize(
    ("columns", "column", "sentence"),
    [
        ({"clean_label": CLEAN, "a": NOISY, "b": NOISY}, "", "one of clean_label, a, b"),
        ({"clean_label": CLEAN, "worse": NOISY}, "#wrose", "Did you mean 'worse'"),
        ({"worse": NOISY + 1}, "", r"holds 3 in row 2 .*\[0, 3\)"),
        ({"worse": NOISY - 5}, "", "holds -4"),
        ({"worse": NOISY / 2}, "", "holds double values|holds float64 values"),
        ({"worse": [None, *NOISY[1:].tolist()]}, "", "or gaps"),
        ({"worse": ["x"] * 60}, "", "values or gaps"),
    ],
)
def test_columns_that_are_no_labels_are_refused(
    columns: dict[str, Any], column: str, sentence: str, tmp_path: Path
) -> None:
    write_parquet(tmp_path / "l.parquet", columns)
    with pytest.raises(ValueError, match=sentence):
        create_noise(f"labels:{tmp_path / 'l.parquet'}{column}", 3)


class Exploding:
    """A pickle of it would leave a trace when opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["human.pt", "human.pth", "human.pkl", "human.npy", "human.npz"])
@pytest.mark.parametrize("kind", ["labels", "human"])
def test_pickles_are_never_opened_and_the_error_says_how_to_convert(
    name: str, kind: str, tmp_path: Path
) -> None:
    trace, path = tmp_path / "trace", tmp_path / name
    if path.suffix == ".npy":
        np.save(path, np.array(Exploding(trace), dtype=object), allow_pickle=True)
    elif path.suffix == ".npz":
        np.savez(path, worse=np.array(Exploding(trace), dtype=object))
    else:
        path.write_bytes(pickle.dumps(Exploding(trace)))
    with pytest.raises(ValueError, match="to_parquet"):
        create_noise(f"{kind}:{path}", 3)
    assert not trace.exists()


def write_matrix(path: Path, rows: Any) -> None:
    if path.suffix == ".npy":
        np.save(path, np.array(rows))
    elif path.suffix == ".csv":
        path.write_text("\n".join(",".join(map(str, row)) for row in rows), encoding="utf-8")
    else:
        path.write_text(json.dumps(rows), encoding="utf-8")


@pytest.mark.parametrize("name", ["T.npy", "T.csv", "T.json"])
def test_matrix_is_read_from_every_format(name: str, tmp_path: Path) -> None:
    write_matrix(tmp_path / name, [[0.75, 0.25], [0.5, 0.5]])
    noise = create_noise(f"matrix:{tmp_path / name},mode=iid", 2)
    assert noise.transition_matrix().tolist() == [[0.75, 0.25], [0.5, 0.5]]  # type: ignore[union-attr]
    assert create_noise(noise.spec).spec == noise.spec
    report = noise_report([0, 0, 0, 1], [0, 0, 0, 1], noise)
    assert report.asked_rate == (3 * 0.25 + 0.5) / 4


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([[0.5, 0.5]], "one row and column for each class"),
        ([0.5, 0.5], "one row and column for each class"),
        ([[1.0]], "one row and column for each class"),
        ([[0.5, 0.5], [0.5, 0.4]], "Row 1 .* sums to 0.9"),
        ([[1.5, -0.5], [0, 1]], "holds 1.5 in row 0, column 0"),
        ([[float("nan"), 1], [0, 1]], "holds nan"),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], "for 3 classes, the dataset has 2"),
    ],
)
def test_matrix_that_is_none_is_refused(rows: Any, sentence: str, tmp_path: Path) -> None:
    write_matrix(tmp_path / "T.npy", rows)
    with pytest.raises(ValueError, match=sentence):
        create_noise(f"matrix:{tmp_path / 'T.npy'}", 2)


@pytest.mark.parametrize("content", ["a,b\n0,1", "0.5,0.5\n1", "{}", "[1, [2]]", "", "[[null, 1], [0, 1]]"])
@pytest.mark.parametrize("suffix", [".csv", ".json", ".npy", ".txt", ".pt"])
def test_unreadable_matrix_gets_a_sentence(content: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"T{suffix}"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"matri|pickle"):
        create_noise(f"matrix:{path}", 2)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_label_file_gives_its_labels_or_a_sentence(data: st.DataObject, tmp_path: Path) -> None:
    name, write = data.draw(st.sampled_from(WRITERS))
    path = tmp_path / name
    write(path, {"clean_label": CLEAN, "worse": NOISY})
    content = bytearray(path.read_bytes())
    where = data.draw(st.integers(0, len(content) - 1))
    change = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    if change == "flip":
        content[where] ^= data.draw(st.integers(1, 255))
    elif change == "cut":
        del content[where:]
    else:
        content[where:where] = data.draw(st.binary(min_size=1, max_size=8))
    path.write_bytes(bytes(content))
    try:
        noisy = create_noise(f"labels:{path}#worse", 3).corrupt(CLEAN)
    except ValueError as error:
        sentence = str(error)
    else:
        # A flipped digit is a valid label; everything else must be as it was.
        assert noisy.shape == (60,)
        assert set(noisy.tolist()) <= {0, 1, 2}
        return
    assert len(sentence.split()) > 5
    assert name in sentence
