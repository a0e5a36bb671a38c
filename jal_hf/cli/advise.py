"""`jal-hf advise DATASET`: which loss, with which parameters, and why."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

from jal_hf.cli.output import Output, add_output_flags
from jal_hf.cli.text import wrapped

NAME = "advise"
HELP = "which loss suits a dataset and its noise, and why"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `jal-hf advise`."""
    parser.add_argument(
        "dataset",
        nargs="?",
        metavar="DATASET",
        help="Hub id, local folder or `digits`; can be left out when --num_classes and --noise are given",
    )
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        "--noise", metavar="SPEC", help="the noise, where it is known: symmetric:0.4, matrix:T.npy, ..."
    )
    known.add_argument(
        "--estimate",
        action="store_true",
        help="estimate the noise of the dataset's own labels with a simple model",
    )
    parser.add_argument(
        "--num_classes", type=int, metavar="K", help="number of classes, instead of a dataset"
    )
    parser.add_argument("--dataset_config", help="configuration of a Hub dataset that has several")
    parser.add_argument("--image_column", help="column with the images (default: found by type)")
    parser.add_argument("--label_column", help="column with the labels (default: found by type)")
    parser.add_argument("--folds", type=int, help="folds of --estimate (default: 5)")
    add_output_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the advice."""
    from jal_hf.analysis.advice import advise
    from jal_hf.analysis.advice_data import estimated_noise, noise_of_data, noise_of_spec
    from jal_hf.analysis.advice_text import advice_dict, advice_text

    output = Output(arguments)
    if arguments.folds is not None and not arguments.estimate:
        raise ValueError("--folds is of --estimate; add that, or leave --folds out.")
    heading, names = "", None
    if arguments.dataset is None:
        if arguments.num_classes is None or arguments.noise is None:
            raise ValueError("Give a dataset, or --num_classes K with --noise SPEC.")
        noise = noise_of_spec(arguments.noise, arguments.num_classes)
    else:
        from jal_hf.data import load_noisy_dataset

        with output.working():
            data = load_noisy_dataset(
                arguments.dataset,
                dataset_config=arguments.dataset_config,
                image_column=arguments.image_column,
                label_column=arguments.label_column,
                noise=arguments.noise or "none",
            )
        if arguments.num_classes not in (None, data.num_classes):
            raise ValueError(f"The dataset has {data.num_classes} classes, not {arguments.num_classes}.")
        names = data.class_names
        heading = _sizes(data)
        if arguments.estimate:
            noise, found = estimated_noise(data, 5 if arguments.folds is None else arguments.folds)
            heading += (
                f"The simple model agrees with {100 * found.agreement:.1f} % of the given labels. Its own "
                "mistakes count as noise, and wrong labels that follow the look of the images pass for right ones,\n"
                "so the rate may be too high or too low. A robust run and `jal-hf audit RUN --folds 5` estimate "
                "better.\n"
            )
        else:
            noise = noise_of_data(data, arguments.noise or "none")
    advice = advise(noise, arguments.dataset or "")
    text = heading + ("\n" if heading else "") + advice_text(advice, names)
    brief = "\n".join(item.flags for item in advice.suggestions)
    output.result(advice_dict(advice), wrapped(text, ""), brief=brief)
    return 0


def _sizes(data: Any) -> str:
    counts = Counter(data["train"][data.label_column][:])
    sizes = [counts[k] for k in range(data.num_classes)]
    text = f"{data.name}: {sum(sizes):,} training examples, {data.num_classes} classes of {min(sizes):,}"
    text += f" to {max(sizes):,} (by given label).\n"
    if min(sizes) * 10 < max(sizes):
        text += (
            "The classes differ tenfold in size: check that a robust loss does not give up the small ones.\n"
        )
    return text
