"""`jal-hf predict RUN FILES`: the class of each image or text, by a finished run's model."""

from __future__ import annotations

import argparse
import csv
import io
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jal_hf.cli.output import Output, add_output_flags

logger = logging.getLogger(__name__)

Prediction = dict[str, Any]

HELP = "classify images or texts with a finished run's model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `jal-hf predict`."""
    parser.add_argument("run", metavar="RUN", help="folder of a finished run, or of any exported checkpoint")
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="image files, or folders of them; of a run on text: texts, .txt files with one in each line, or tables",
    )
    parser.add_argument(
        "--out", metavar="TABLE.csv", help="write the answers there, columns file (or text), label, score"
    )
    parser.add_argument("--batch_size", type=int, default=32, help="images or texts at a time (default: 32)")
    add_output_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Classify and print a line an example, or write the table; what cannot be read has no answer."""
    from jal_hf.ground.files import file_place, whole_file
    from jal_hf.ground.sentences import printable
    from jal_hf.runs.texts import is_text_run

    output = Output(arguments)
    if arguments.out is not None:
        file_place(arguments.out)
    kind, column = ("texts", "text") if is_text_run(arguments.run) else ("images", "file")
    gather, classify = (_texts, _text_answers) if kind == "texts" else (_image_files, _image_answers)
    examples = gather(arguments.files, arguments.run)
    with output.working():
        answers = classify(arguments.run, examples, arguments.batch_size)
    none: Prediction = {"label": None, "score": None}
    facts = [{column: example, **(answer or none)} for example, answer in zip(examples, answers, strict=True)]
    rows = [
        (fact[column], fact["label"] or "", "" if fact["score"] is None else f"{fact['score']:.4f}")
        for fact in facts
    ]
    if arguments.out is None:
        shown = [tuple(map(printable, row)) for row in rows]
        output.result(facts, _csv_text(shown, "\t").rstrip("\n"))
        return 0
    with whole_file(arguments.out) as temporary:
        # names of files may be no UTF-8, and stay as they are
        text = _csv_text([(column, "label", "score"), *rows], ",")
        temporary.write_bytes(text.encode("utf-8", errors="surrogateescape"))
    output.result(facts, f"{len(rows):,} {kind}: {arguments.out}", brief=arguments.out)
    return 0


def _csv_text(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, delimiter=delimiter, lineterminator="\n")
    if any("\r" in cell for row in rows for cell in row):  # before Python 3.13 it is not quoted by itself
        writer = csv.writer(lines, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows(rows)
    return lines.getvalue()


def _image_files(names: Sequence[str], run: str) -> list[str]:
    """Image files, and those in folders that a training would read."""
    from jal_hf.data.readers.image_folder import image_files
    from jal_hf.runs.prediction import check_classifier

    check_classifier(run)
    files: list[str] = []
    for name in names:
        found = [name]
        if not os.path.exists(name):
            raise FileNotFoundError(f"There is no image file {name!r}.")
        if os.path.isdir(name):
            found = [str(path) for path in sorted(map(Path, image_files(Path(name))))]
        if not found:
            raise ValueError(f"The folder {name!r} holds no images.")
        files += found
    return files


def _image_answers(run: str, files: Sequence[str], batch_size: int) -> list[Prediction | None]:
    """None for an image that cannot be read, which is named in a warning; where none can, the first one's error."""
    from jal_hf.data.images.decoding import open_image
    from jal_hf.data.progress import progress_line
    from jal_hf.ground.image_files import UnreadableImageError
    from jal_hf.ground.sentences import printable
    from jal_hf.runs.prediction import load_classifier

    classify = load_classifier(run, batch_size=batch_size)
    damaged: dict[int, UnreadableImageError] = {}

    def pictures() -> Iterator[Any]:
        for number, file in enumerate(files):
            try:
                image = open_image({"bytes": None, "path": file}, 3, file)
            except UnreadableImageError as error:
                damaged[number] = error
                continue
            yield image

    with progress_line(len(files), "classifying", "image") as line:
        found = []
        for answers in classify(pictures()):
            found.append(answers[0])
            line.update()
    if len(damaged) == len(files):
        raise damaged[0]
    for error in damaged.values():
        logger.warning("%s It has no answer.", printable(error))
    rest = iter(found)
    return [None if number in damaged else next(rest) for number in range(len(files))]


def _texts(words: Sequence[str], run: str) -> list[str]:
    """A word that ends in .txt is a file with a text in each line, the name of a table its texts; any other is a text.

    Raises:
        ValueError: a word is the name of a file of another kind, or a file cannot be read.
    """
    from jal_hf.data.readers.loaded import TABLE_FORMS
    from jal_hf.runs.texts import texts_of_table

    found: list[str] = []
    for word in words:
        ending = os.path.splitext(word)[1].lower()
        if word.endswith(".txt") or (ending == ".txt" and os.path.isfile(word)):
            found += _lines(word)
        elif not os.path.isfile(word):
            found.append(word)
        elif ending in TABLE_FORMS:
            found += texts_of_table(run, word)
        else:
            raise ValueError(
                f"{word!r} is a file, and texts come from .txt files or tables ({', '.join(sorted(TABLE_FORMS))})."
            )
    return found


def _lines(name: str) -> list[str]:
    """The lines of a file that hold a text; only line ends part them, no other sign that ends a line elsewhere."""
    try:
        with open(name, encoding="utf-8-sig") as file:
            return [text for line in file if (text := line.strip())]
    except UnicodeDecodeError as error:
        raise ValueError(f"The file {name!r} is no UTF-8: {error}.") from error


def _text_answers(run: str, texts: Sequence[str], batch_size: int) -> list[Prediction | None]:
    """None for a row of a table that has no text."""
    from jal_hf.runs.texts import predict_texts

    full = [text for text in texts if text]
    if not full:
        raise ValueError("There is no text to classify: all lines and cells are empty.")
    if empty := len(texts) - len(full):
        logger.warning("%d row(s) have no text, and no answer.", empty)
    rest = iter(predict_texts(run, full, batch_size=batch_size))
    return [next(rest) if text else None for text in texts]
