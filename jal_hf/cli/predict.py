"""`jal-hf predict RUN FILES`: the class of each image or text, by a finished run's model."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path

from jal_hf.cli.output import Output, add_output_flags

HELP = "classify images or texts with a finished run's model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `jal-hf predict`."""
    parser.add_argument("run", metavar="RUN", help="folder of a finished run, or of any exported checkpoint")
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="image files, or folders of them; of a run on text: texts, or .txt files with one in each line",
    )
    parser.add_argument(
        "--out", metavar="TABLE.csv", help="write the answers there, columns file (or text), label, score"
    )
    parser.add_argument("--batch_size", type=int, default=32, help="images or texts at a time (default: 32)")
    add_output_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Classify and print a line an example, or write the table."""
    from jal_hf.ground.files import whole_file
    from jal_hf.ground.sentences import printable
    from jal_hf.runs.prediction import predict_images
    from jal_hf.runs.texts import is_text_run, predict_texts

    output = Output(arguments)
    kind, column = ("texts", "text") if is_text_run(arguments.run) else ("images", "file")
    examples = (_texts if kind == "texts" else _image_files)(arguments.files)
    with output.working():
        classify = predict_texts if kind == "texts" else predict_images
        answers = classify(arguments.run, examples, batch_size=arguments.batch_size)
    facts = [{column: example, **answer} for example, answer in zip(examples, answers, strict=True)]
    rows = [(printable(fact[column]), printable(fact["label"]), f"{fact['score']:.4f}") for fact in facts]
    if arguments.out is None:
        lines = io.StringIO()
        csv.writer(lines, delimiter="\t", lineterminator="\n").writerows(rows)
        output.result(facts, lines.getvalue().rstrip("\n"))
        return 0
    with whole_file(arguments.out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([(column, "label", "score"), *rows])
    output.result(facts, f"{len(rows):,} {kind}: {arguments.out}", brief=arguments.out)
    return 0


def _image_files(names: Sequence[str]) -> list[str]:
    from jal_hf.ground.image_files import has_image_ending

    files: list[str] = []
    for name in names:
        path = Path(name)
        found = (
            sorted(file for file in path.rglob("*") if has_image_ending(file.name))
            if path.is_dir()
            else [path]
        )
        if not found:
            raise ValueError(f"The folder {name!r} holds no images.")
        files += map(str, found)
    return files


def _texts(words: Sequence[str]) -> list[str]:
    """A word that ends in .txt is a file with a text in each line; any other is a text."""
    found: list[str] = []
    for word in words:
        if word.endswith(".txt"):
            lines = Path(word).read_text(encoding="utf-8").splitlines()
            found += [line.strip() for line in lines if line.strip()]
        else:
            found.append(word)
    return found
