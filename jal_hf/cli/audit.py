"""`jal-hf audit RUN`: which training labels look wrong."""

from __future__ import annotations

import argparse

NAME = "audit"
HELP = "rank the training examples whose labels look wrong"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `jal-hf audit`."""
    parser.add_argument("run", metavar="RUN", help="folder of a finished `jal-hf train`")
    parser.add_argument("--dataset", help="where the run's data lies now (default: where the run found it)")
    parser.add_argument(
        "--noise",
        metavar="SPEC",
        help="noise to draw instead of the run's; `none` audits the data's own labels",
    )
    parser.add_argument(
        "--folds",
        type=int,
        default=0,
        metavar="K",
        help="judge each row by a model that never saw it: trains the run's recipe K times (default: 0, the "
        "run's own model)",
    )
    parser.add_argument(
        "--top",
        type=int,
        default=10_000,
        metavar="N",
        help="rows on the HTML page (default: 10000); the table has all",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="load the data and weights that the record of a run made elsewhere names",
    )


def run(arguments: argparse.Namespace) -> int:
    """Audit the run and print what was found."""
    from jal_hf.cli.old_records import config_of_command
    from jal_hf.ground.record import RunRecord
    from jal_hf.runs.audit.audit import audit_run

    record = RunRecord.read(arguments.run)
    audit = audit_run(
        arguments.run,
        dataset=arguments.dataset,
        noise=arguments.noise,
        folds=arguments.folds,
        top=arguments.top,
        trust=arguments.trust,
        config=None if record.config or not record.command else config_of_command(record),
    )
    summary = audit.summary
    print(f"{summary['run']}: {summary['rows']:,} training labels, judged by {summary['judged_by']}")
    print(f"  given and suggested label differ   {summary['differing']:,}")
    for method, estimate in summary["estimates"].items():
        if estimate is not None:
            print(f"  noise rate by {method.replace('_', ' '):<20} {100 * estimate['rate']:.2f} %")
    if summary["realised_rate"] is not None:
        print(f"  realised noise rate                {100 * summary['realised_rate']:.2f} %")
    for judge, scores in summary["scores"].items():
        if scores is not None:
            print(
                f"  {judge.replace('_', ' ') + ':':<34} AUROC {scores['auroc']:.4f}, average precision "
                f"{scores['average_precision']:.4f}, precision at the realised rate "
                f"{scores['precision_at_realised_rate']:.4f}"
            )
    for warning in summary["warnings"]:
        print(f"  warning: {warning}")
    for name in ("report.html", "label_issues.parquet", "summary.json"):
        print(f"  {audit.folder / name}")
    return 0
