"""`jal-hf benchmark DATASET --noise SPEC`: noisy labels that everybody can be scored on, as a dataset repository."""

from __future__ import annotations

import argparse
import shlex
import tempfile
from pathlib import Path

from jal_hf.cli.lists import split_noises, split_seeds
from jal_hf.cli.noise import add_data_arguments, clean_data, given_data_flags, hand_over
from jal_hf.cli.output import Output, add_output_flags
from jal_hf.ground.places import published_spec

NAME = "benchmark"
HELP = "make a benchmark of noisy labels for the Hub, without images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DATASET, the noises and seeds, and where to put the benchmark."""
    parser.add_argument(
        "dataset", metavar="DATASET", help="Hub id, local folder in the Hub's layout, or 'digits'."
    )
    parser.add_argument(
        "--noise",
        required=True,
        action="append",
        metavar="SPEC",
        help="A task a noise, such as symmetric:0.8; repeat it, or separate with commas. Labels of a file (human:, "
        "labels:) are named by their SHA-256 alone, for they are not ours to give away.",
    )
    parser.add_argument("--seeds", default="0", help="Draws of each task, e.g. 0,1,2; default 0.")
    parser.add_argument("--title", help="Name of the benchmark; default: of the dataset.")
    parser.add_argument("--out", type=Path, metavar="DIR", help="Folder to write; absent or empty.")
    parser.add_argument("--push", metavar="REPO", help="Push it to this dataset repository of the Hub.")
    parser.add_argument("--private", action="store_true", help="Make a new repository private.")
    add_data_arguments(parser)
    add_output_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Draw, hash, write, push."""
    arguments.noises = split_noises(",".join(arguments.noise))
    arguments.seed_list = split_seeds(arguments.seeds)
    if arguments.out is None and arguments.push is None:
        raise ValueError("Say where the benchmark goes: --out DIR, or --push REPO, or both.")
    if arguments.out is not None:
        return _make(arguments, arguments.out)
    with tempfile.TemporaryDirectory(prefix="jal-hf-benchmark-") as folder:
        return _make(arguments, Path(folder) / "benchmark")


def _make(arguments: argparse.Namespace, folder: Path) -> int:
    from jal_hf.hub import check_hub_access
    from jal_hf.runs.benchmark import make_benchmark
    from jal_hf.runs.noisy_copies import dataset_source

    repository = None if arguments.push is None else check_hub_access(arguments.push)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{str(folder)!r} is not an empty folder; name one that does not exist yet.")
    output = Output(arguments)
    with output.working():
        data = clean_data(arguments)
        source = dataset_source(arguments.dataset, data, arguments.dataset_config)
        words = [
            "jal-hf",
            "benchmark",
            source.name,
            "--noise",
            ",".join(map(published_spec, arguments.noises)),
            "--seeds",
        ]
        manifest = make_benchmark(
            data,
            source,
            arguments.noises,
            arguments.seed_list,
            folder,
            title=arguments.title,
            command=[*words, arguments.seeds, *given_data_flags(arguments), "--out", "DIR"],
            address=repository,
            image_size=arguments.image_size,
            num_proc=arguments.num_proc,
            tell=output.remark,
        )
    hand_over(
        output,
        manifest,
        folder,
        kept=arguments.out,
        wrote=f"Wrote {shlex.quote(str(arguments.out))}.",
        what="benchmark",
        repository=repository,
        private=arguments.private,
        message="Add the benchmark: labels, manifest, eval.yaml and card",
        pushed=f"Its table: jal-hf leaderboard {repository}",
    )
    return 0
