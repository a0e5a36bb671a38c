"""`jal-hf audit RUN`: which training labels look wrong."""

from __future__ import annotations

import argparse
import shlex
import webbrowser

NAME = "audit"
HELP = "rank the training examples whose labels look wrong, and write the corrected dataset"


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
    parser.add_argument(
        "--review",
        action="store_true",
        help="open the page where a person confirms or rejects each suspect and saves the decisions to a file",
    )
    parser.add_argument("--export", metavar="DIR", help="write the corrected dataset into this empty folder")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--drop", action="store_true", help="with --export: leave suspects out")
    ways.add_argument(
        "--relabel",
        action="store_true",
        help="with --export: give suspects the suggested label where its p is at least 0.8, and leave the others out",
    )
    ways.add_argument(
        "--weights",
        action="store_true",
        help="with --export: keep every row, weighted by p of its given label (train reads the column sample_weight)",
    )
    parser.add_argument(
        "--threshold",
        default="auto",
        metavar="auto|P",
        help="which rows are suspects: auto takes as many as the estimated noise rate, those of the smallest p of the "
        "given label; P takes all whose p is below it; always only rows whose suggested label differs",
    )
    parser.add_argument(
        "--decisions",
        metavar="FILE",
        help="with --export: what a person decided on the page comes before any rule",
    )


def run(arguments: argparse.Namespace) -> int:
    """Audit the run and print what was found."""
    from jal_hf.cli.old_records import config_of_command
    from jal_hf.ground.record import RunRecord
    from jal_hf.runs.audit.audit import audit_run

    how = next((name for name in ("drop", "relabel", "weights") if getattr(arguments, name)), None)
    if arguments.export is None and (how or arguments.decisions):
        raise ValueError(
            f"--{how or 'decisions'} says what --export writes; name its folder with --export DIR."
        )
    if arguments.export is not None and not (how or arguments.decisions):
        raise ValueError(
            "--export needs to know what becomes of suspects: --drop, --relabel, --weights or --decisions."
        )
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
    print(f"  {summary['judgement']['reason']}")
    if summary["judgement"]["noise_rate"] is not None:
        print(f"  estimated noise rate               {100 * summary['judgement']['noise_rate']:.2f} %")
        print(f"  suspects                           {summary['suspects']:,}")
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
    if arguments.review:
        page = (audit.folder / "report.html").resolve()
        webbrowser.open(page.as_uri())
        print(f"  review: open {page}, save the decisions, then --export DIR --decisions FILE")
    if arguments.export is not None:
        cleaning, form = audit.export(
            arguments.export, how, threshold=arguments.threshold, decisions=arguments.decisions
        )
        dropped, weighted = (sum(c.new is None for c in cleaning.changes), cleaning.weights is not None)
        relabelled = sum(c.new not in (None, c.given) for c in cleaning.changes)
        counts = f"{dropped:,} dropped, {relabelled:,} relabelled" + (", all weighted" if weighted else "")
        print(f"  written as {form}: {arguments.export} ({counts}; each change is in changes.csv)")
        again = "finetune" if record.finetune else "train --dataset"
        print(f"  train on it: jal-hf {again} {shlex.quote(str(arguments.export))}")
    return 0
