"""`jal-hf push RUN REPO_ID`: checkpoint and card to the Hub."""

from __future__ import annotations

import argparse
import sys

from jal_hf.hub import check_hub_access, push_run

NAME = "push"
HELP = "push a run's checkpoint, card, record and plots to the Hub"
EXIT_NOT_PUSHED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN, REPO_ID and how the repository shall be."""
    parser.add_argument("run", metavar="RUN", help="Folder of a finished run.")
    parser.add_argument("repo_id", metavar="REPO_ID", help="NAME/REPO, or REPO for your own name.")
    parser.add_argument(
        "--private",
        action="store_true",
        help="Make a new repository private; one that is there stays as it is.",
    )
    parser.add_argument(
        "--license", default=None, help="Licence of the weights; apache-2.0 unless noted otherwise."
    )
    parser.add_argument(
        "--benchmark",
        default=None,
        metavar="OWNER/NAME[:TASK]",
        help="Enter the run's accuracy in this benchmark (jal-hf benchmark), on whose labels it was trained; by "
        "default the one that its noise names.",
    )
    parser.add_argument("--revision", default=None, help="Branch to commit to; the main branch by default.")


def run(arguments: argparse.Namespace) -> int:
    """Push; 1 when the Hub did not take it, with the command that tries again."""
    try:
        repo_id = check_hub_access(arguments.repo_id)
        address = push_run(
            arguments.run,
            repo_id,
            private=arguments.private or None,
            license=arguments.license,
            benchmark=arguments.benchmark,
            revision=arguments.revision,
        )
    except ConnectionError as error:
        print(f"jal-hf: error: {error}", file=sys.stderr)
        return EXIT_NOT_PUSHED
    print(f"Pushed: {address}")
    return 0
