"""`jal-hf push RUN REPO_ID`: checkpoint and card to the Hub."""

from __future__ import annotations

import argparse

from jal_hf.cli.output import Output, add_output_flags
from jal_hf.ground.record import RunRecord
from jal_hf.hub import PushError, check_hub_access, push_run, push_space
from jal_hf.hub.push import push_command

NAME = "push"
HELP = "push a run's checkpoint, card, record and plots to the Hub"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN, REPO_ID and how the repository shall be."""
    parser.add_argument("run", metavar="RUN", help="Folder of a finished run.")
    parser.add_argument("repo_id", metavar="REPO_ID", help="NAME/REPO, or REPO for your own name.")
    parser.add_argument(
        "--private",
        action="store_true",
        help="Make a new repository private; a public one that is there is refused.",
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
    parser.add_argument(
        "--revision",
        default=None,
        help="Branch to commit to, made where it is missing; the main branch by default.",
    )
    parser.add_argument(
        "--space",
        metavar="SPACE_ID",
        default=None,
        help="Also put a page to try the model, that of `jal-hf demo`, into this Space, NAME/SPACE.",
    )
    add_output_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Push, and print where it lies now; what the Hub did not take is told with the command that tries again."""
    output = Output(arguments)
    repo_id = check_hub_access(arguments.repo_id, revision=arguments.revision)
    space_id = None if arguments.space is None else check_hub_access(arguments.space)
    try:
        with output.working():
            commit = push_run(
                arguments.run,
                repo_id,
                private=arguments.private or None,
                license=arguments.license,
                benchmark=arguments.benchmark,
                revision=arguments.revision,
            )
    except PushError as error:
        if space_id is None:
            raise
        # The message ends with the command that tries again, and that one shall make the Space too.
        raise PushError(f"{error} --space {space_id}", error.status) from None
    space, failure = None, None
    if space_id is not None:
        license = str(RunRecord.read(arguments.run).hub["license"])
        try:
            with output.working():
                space = push_space(space_id, repo_id, license=license, private=arguments.private or None)
        except PushError as error:
            again = push_command(
                arguments.run,
                repo_id,
                private=arguments.private,
                benchmark=arguments.benchmark,
                revision=arguments.revision,
                space=space_id,
            )
            failure = PushError(f"{error} Try again with: {again}", error.status)
    shown = [f"Pushed: {commit}", *([] if space is None else [f"Space: {space}"])]
    addresses = [address for address in (commit, space) if address is not None]
    output.result({"commit": commit, "space": space}, "\n".join(shown), brief="\n".join(addresses))
    if failure is not None:
        raise failure
    return 0
