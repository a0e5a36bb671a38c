"""`jal-hf noise DATASET --noise SPEC`: a noisy copy of a dataset, with card, picture and manifest."""

from __future__ import annotations

import argparse
import shlex
import tempfile
from pathlib import Path
from typing import Any

from jal_hf.cli.output import Output, add_output_flags
from jal_hf.ground.files import JsonObject
from jal_hf.ground.places import published_spec

NAME = "noise"
HELP = "write or push a noisy copy of a dataset"
_OPTIONS = (
    "Options follow a comma: mode=exact (counts met to the row) or mode=iid (each row on its own); "
    "classes=mnist, cifar10, cifar100-block5, cifar100-superclass, your own pairs such as "
    "'cat>dog;dog>cat', or a .json file of pairs; include_true=true."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DATASET, the noise, and where to put the copy."""
    from jal_hf.noise import list_noises, noise_info

    kinds = "; ".join(
        f"{kind}{':' + noise_info(kind).argument if noise_info(kind).argument else ''} "
        f"({noise_info(kind).summary})"
        for kind in list_noises()
    )
    parser.add_argument(
        "dataset", metavar="DATASET", help="Hub id, local folder in the Hub's layout, or 'digits'."
    )
    parser.add_argument("--noise", required=True, metavar="SPEC", help=f"{kinds}. {_OPTIONS}")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="Names the draw; `train --noise_seed` of the same number draws the same labels.",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="Folder to write; it must not exist, or be empty."
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace an older noisy dataset in DIR.")
    parser.add_argument("--push", metavar="REPO", help="Push the copy to this dataset repository of the Hub.")
    parser.add_argument("--private", action="store_true", help="Make a new repository private.")
    add_data_arguments(parser)
    add_output_flags(parser)


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Which splits and columns of DATASET."""
    parser.add_argument("--dataset_config", help="Configuration of DATASET.")
    parser.add_argument("--train_split", help="Split that gets the noise; default train.")
    parser.add_argument("--eval_split", help="Split to copy as test; default test, or the validation split.")
    parser.add_argument("--label_column", help="Default: found by type and usual names.")
    parser.add_argument("--image_column", help="The same.")
    parser.add_argument(
        "--image_size", type=int, help="Side in pixels for idn and pdn, where images differ in size."
    )
    parser.add_argument("--num_proc", type=int, help="Images decoded at once for idn and pdn.")


def run(arguments: argparse.Namespace) -> int:
    """Draw, write, push."""
    from jal_hf.hub.noisy_dataset import check_target
    from jal_hf.noise import parse_noise_spec

    parse_noise_spec(arguments.noise)
    if arguments.out is None and arguments.push is None:
        raise ValueError("Say where the noisy copy goes: --out DIR, or --push REPO, or both.")
    if arguments.out is not None:
        check_target(arguments.out, arguments.overwrite)
        return _make(arguments, arguments.out)
    with tempfile.TemporaryDirectory(prefix="jal-hf-noise-") as folder:
        return _make(arguments, Path(folder) / "dataset")


def _make(arguments: argparse.Namespace, folder: Path) -> int:
    from jal_hf.hub import check_hub_access
    from jal_hf.hub.noisy_dataset import noise_manifest, write_noisy_dataset
    from jal_hf.runs.noisy_copies import dataset_source

    repository = None if arguments.push is None else check_hub_access(arguments.push)
    output = Output(arguments)
    with output.working():
        data, report = _draw(arguments)
        source = dataset_source(arguments.dataset, data, arguments.dataset_config)
    output.remark(str(report))
    manifest = noise_manifest(
        report,
        source,
        label_column=data.label_column,
        image_column=data.image_column,
        class_names=data.class_names,
        command=_command(arguments, source.name),
    )

    def draw_picture(path: Path) -> None:
        from jal_hf.analysis import plot_transition_matrix

        plot_transition_matrix(report.transition_matrix, report.realised_matrix, data.class_names, path)

    with output.working():
        write_noisy_dataset(
            data,
            folder,
            manifest,
            source.metadata,
            draw_picture=draw_picture,
            overwrite=arguments.overwrite,
            address=repository,
        )
    where = shlex.quote(str(arguments.out))
    hand_over(
        output,
        report.to_dict(),
        folder,
        kept=arguments.out,
        wrote=f"Wrote {where}. Train on it with: jal-hf train --dataset {where}",
        what="copy",
        repository=repository,
        private=arguments.private,
        message="Add the dataset with noisy labels and its card",
    )
    return 0


def clean_data(arguments: argparse.Namespace) -> Any:
    """DATASET as the flags say, without noise."""
    from jal_hf.data import load_noisy_dataset

    return load_noisy_dataset(
        arguments.dataset,
        dataset_config=arguments.dataset_config,
        train_split=arguments.train_split,
        eval_split=arguments.eval_split,
        label_column=arguments.label_column,
        image_column=arguments.image_column,
    )


def _draw(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """The dataset with noise on its training split, and the report."""
    from jal_hf.noise import create_noise
    from jal_hf.runs.noisy_copies import draw_labels

    data = clean_data(arguments)
    noise = create_noise(arguments.noise, class_names=data.class_names)
    data["train"], report = draw_labels(
        data, noise, arguments.seed, image_size=arguments.image_size, num_proc=arguments.num_proc
    )
    for name, split in data.items():
        numbers = split.select_columns(["index"]).with_format("numpy")[:]["index"]
        if (numbers == range(len(split))).all():  # says nothing that the order of the rows does not
            data[name] = split.remove_columns(["index"])
    return data, report


def _command(arguments: argparse.Namespace, name: str) -> list[str]:
    """The command that draws the same labels again."""
    words = [
        "jal-hf",
        "noise",
        name,
        "--noise",
        published_spec(arguments.noise),
        "--seed",
        str(arguments.seed),
    ]
    return [*words, *given_data_flags(arguments), "--out", "DIR"]


def given_data_flags(arguments: argparse.Namespace) -> list[str]:
    """The words that say the same of splits and columns again."""
    words: list[str] = []
    for key in ("dataset_config", "train_split", "eval_split", "label_column", "image_column", "image_size"):
        value = getattr(arguments, key)
        if value is not None:
            words += [f"--{key}", str(value)]
    return words


def hand_over(
    output: Output,
    facts: JsonObject,
    folder: Path,
    *,
    kept: Path | None,
    wrote: str,
    what: str,
    repository: str | None,
    private: bool,
    message: str,
    pushed: str = "",
) -> None:
    """Push a dataset's folder where a repository is named, and print the result: also that of a push that failed.

    Args:
        output: How the command prints.
        facts: The result under --json, beside `folder` and `commit`.
        folder: The folder to push.
        kept: The same where it stays, None where it goes with the command.
        wrote: The line that says so.
        what: What the folder holds, such as `copy`.
        repository: Dataset repository of the Hub, None to push nothing.
        private: Make a new repository private.
        message: Of the commit.
        pushed: A further line after a push.

    Raises:
        PushError: When the Hub did not take it; the sentence names the folder where it is kept.
    """
    from jal_hf.hub.push import push_dataset
    from jal_hf.hub.transfer import PushError

    commit, failure = None, None
    if repository is not None:
        try:
            with output.working():
                commit = push_dataset(folder, repository, message=message, private=private or None)
        except PushError as error:
            rest = "" if kept is None else f" The {what} is complete in {kept}."
            failure = PushError(f"{error}{rest}", error.status)
    lines = [] if kept is None else [wrote]
    lines += [] if commit is None else [f"Pushed: {commit}", *([pushed] if pushed else [])]
    if lines:
        places = [str(place) for place in (kept, commit) if place is not None]
        facts = {**facts, "folder": None if kept is None else str(kept), "commit": commit}
        output.result(facts, "\n".join(lines), brief="\n".join(places))
    if failure is not None:
        raise failure
