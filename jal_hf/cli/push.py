"""`jal-hf push RUN REPO_ID`: checkpoint and card to the Hub."""

from __future__ import annotations

import argparse
import shlex
import sys

from jal_hf.ground.record import RunRecord
from jal_hf.hub import PushError, check_hub_access, push_run, push_space

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
    parser.add_argument(
        "--space",
        metavar="SPACE_ID",
        default=None,
        help="Also put a page to try the model, that of `jal-hf demo`, into this Space, NAME/SPACE.",
    )


def run(arguments: argparse.Namespace) -> int:
    """Push; 1 when the Hub did not take it, with the command that tries again."""
    try:
        repo_id = check_hub_access(arguments.repo_id)
        space_id = None if arguments.space is None else check_hub_access(arguments.space)
        address = push_run(
            arguments.run,
            repo_id,
            private=arguments.private or None,
            license=arguments.license,
            benchmark=arguments.benchmark,
            revision=arguments.revision,
        )
        print(f"Pushed: {address}")
        if space_id is not None:
            license = str(RunRecord.read(arguments.run).hub["license"])
            try:
                shown = push_space(space_id, repo_id, license=license, private=arguments.private or None)
            except PushError as error:
                again = ["jal-hf", "push", arguments.run, repo_id, "--space", space_id]
                again += ["--private"] if arguments.private else []
                raise PushError(f"{error} Try again with: {shlex.join(again)}", error.status) from None
            print(f"Space: {shown}")
    except ConnectionError as error:
        print(f"jal-hf: error: {error}", file=sys.stderr)
        return EXIT_NOT_PUSHED
    return 0
