"""`jal-hf predict RUN FILES`: the class of each image, by a finished run's model."""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

from jal_hf.cli.output import Output, add_output_flags

HELP = "classify images with a finished run's model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `jal-hf predict`."""
    parser.add_argument("run", metavar="RUN", help="folder of a finished run, or of any exported checkpoint")
    parser.add_argument("files", metavar="FILE", nargs="+", help="image files, or folders of them")
    parser.add_argument(
        "--out", metavar="TABLE.csv", help="write the answers there, columns file, label, score"
    )
    parser.add_argument("--batch_size", type=int, default=32, help="images at a time (default: 32)")
    add_output_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Classify and print a line an image, or write the table."""
    from jal_hf.ground.files import whole_file
    from jal_hf.ground.image_files import has_image_ending
    from jal_hf.ground.sentences import printable
    from jal_hf.runs.prediction import predict_images

    files: list[Path] = []
    for name in arguments.files:
        path = Path(name)
        found = (
            sorted(file for file in path.rglob("*") if has_image_ending(file.name))
            if path.is_dir()
            else [path]
        )
        if not found:
            raise ValueError(f"The folder {name!r} holds no images.")
        files += found
    output = Output(arguments)
    with output.working():
        answers = predict_images(arguments.run, files, batch_size=arguments.batch_size)
    facts = [{"file": str(file), **answer} for file, answer in zip(files, answers, strict=True)]
    rows = [(printable(fact["file"]), printable(fact["label"]), f"{fact['score']:.4f}") for fact in facts]
    if arguments.out is None:
        lines = io.StringIO()
        csv.writer(lines, delimiter="\t", lineterminator="\n").writerows(rows)
        output.result(facts, lines.getvalue().rstrip("\n"))
        return 0
    with whole_file(arguments.out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("file", "label", "score"), *rows])
    output.result(facts, f"{len(rows):,} images: {arguments.out}", brief=arguments.out)
    return 0
