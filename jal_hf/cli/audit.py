"""`jal-hf audit RUN`: which training labels look wrong."""

from __future__ import annotations

import argparse
import shlex
import webbrowser
from pathlib import Path
from typing import Any

from jal_hf.cli.output import Output, add_output_flags
from jal_hf.cli.text import facts_text, filled
from jal_hf.ground.files import JsonObject

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
        "--report_to",
        nargs="+",
        default=[],
        metavar="SERVICE",
        help="also send the plots and the worst labels' images to tensorboard, wandb, or both",
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
    add_output_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Audit the run and print what was found."""
    from jal_hf.cli.old_records import config_of_command
    from jal_hf.ground.record import RunRecord
    from jal_hf.runs.audit.audit import audit_run
    from jal_hf.runs.texts import TASK

    how = next((name for name in ("drop", "relabel", "weights") if getattr(arguments, name)), None)
    if arguments.export is None and (how or arguments.decisions):
        raise ValueError(
            f"--{how or 'decisions'} says what --export writes; name its folder with --export DIR."
        )
    if arguments.export is not None and not (how or arguments.decisions):
        raise ValueError(
            "--export needs to know what becomes of suspects: --drop, --relabel, --weights or --decisions."
        )
    output = Output(arguments)
    record = RunRecord.read(arguments.run)
    if arguments.export is not None:
        _check_export(arguments, record)
    with output.working():
        audit = audit_run(
            arguments.run,
            dataset=arguments.dataset,
            noise=arguments.noise,
            folds=arguments.folds,
            top=arguments.top,
            trust=arguments.trust,
            report_to=arguments.report_to,
            config=None if record.config or not record.command else config_of_command(record),
        )
        written = None if arguments.export is None else _exported(arguments, audit, how)
    facts = {"folder": str(audit.folder), **audit.summary, "export": written}
    output.result(facts, _text(audit.summary, audit.folder), brief=str(audit.folder))
    if arguments.review:
        page = (audit.folder / "report.html").resolve()
        webbrowser.open(page.as_uri())
        output.remark(f"  review: open {page}, save the decisions, then --export DIR --decisions FILE")
    if written is not None:
        counts = f"{written['dropped']:,} dropped, {written['relabelled']:,} relabelled"
        counts += ", all weighted" if written["weighted"] else ""
        output.remark(
            f"  written as {written['form']}: {written['folder']} ({counts}; each is in changes.csv)"
        )
        if left_out := _left_out(record):
            output.remark(filled(f"not in it, since the run left them out: {left_out}", "  "))
        again = "finetune" if record.finetune else "train --dataset"
        kind = " --task text" if record.model.get("task") == TASK else ""
        output.remark(f"  train on it: jal-hf {again} {shlex.quote(str(written['folder']))}{kind}")
    return 0


def _check_export(arguments: argparse.Namespace, record: Any) -> None:
    """Refuse what cannot be exported before the audit, which may take hours."""
    from jal_hf.analysis.judgement import checked_threshold
    from jal_hf.ground.files import read_object
    from jal_hf.runs.audit.cleaning import read_decisions
    from jal_hf.runs.audit.export import check_empty

    check_empty(Path(arguments.export))
    checked_threshold(arguments.threshold)
    if arguments.decisions is not None and arguments.dataset is None:
        read_decisions(arguments.decisions, record.dataset["class_names"])
    elif arguments.decisions is not None:  # of classes that are not known yet
        read_object(arguments.decisions)


def _left_out(record: Any) -> str:
    """The rows of a run's source that are in no export of it."""
    from jal_hf.ground.sentences import counted
    from jal_hf.runs.texts import TASK

    data, is_text = record.config.get("data") or {}, record.model.get("task") == TASK
    parts = [
        f"training rows beyond the {data['max_train_samples']:,} of --max_train_samples"
        if data.get("max_train_samples")
        else "",
        f"test rows beyond the {data['max_eval_samples']:,} of --max_eval_samples"
        if data.get("max_eval_samples")
        else "",
        f"{counted(record.dataset['skipped_images'], 'row' if is_text else 'unreadable row')}"
        f"{' without text' if is_text else ''}"
        if record.dataset.get("skipped_images")
        else "",
        f"{counted(record.dataset['unlabelled_rows'], 'row')} without label"
        if record.dataset.get("unlabelled_rows")
        else "",
    ]
    return "; ".join(part for part in parts if part)


def _exported(arguments: argparse.Namespace, audit: Any, how: str | None) -> JsonObject:
    cleaning, form = audit.export(
        arguments.export, how, threshold=arguments.threshold, decisions=arguments.decisions
    )
    return {
        "folder": arguments.export,
        "form": form,
        "dropped": sum(change.new is None for change in cleaning.changes),
        "relabelled": sum(change.new not in (None, change.given) for change in cleaning.changes),
        "weighted": cleaning.weights is not None,
    }


def _text(summary: JsonObject, folder: Path) -> str:
    from jal_hf.ground.sentences import counted

    judgement = summary["judgement"]
    rows = [("given and suggested label differ", f"{summary['differing']:,}")]
    if judgement["noise_rate"] is not None:
        rows.append(("estimated noise rate", _percent(judgement["noise_rate"])))
        rows.append(("suspects", f"{summary['suspects']:,}"))
    rows += [
        (f"noise rate by {method.replace('_', ' ')}", _percent(estimate["rate"]))
        for method, estimate in summary["estimates"].items()
        if estimate is not None
    ]
    if summary["realised_rate"] is not None:
        rows.append(("realised noise rate", _percent(summary["realised_rate"])))
    rows += [
        (
            judge.replace("_", " "),
            f"AUROC {scores['auroc']:.4f}, average precision {scores['average_precision']:.4f}, precision at the "
            f"realised rate {scores['precision_at_realised_rate']:.4f}",
        )
        for judge, scores in summary["scores"].items()
        if scores is not None
    ]
    heading = (
        f"{summary['run']}: {counted(summary['rows'], 'training label')}, judged by {summary['judged_by']}"
    )
    warnings = [filled(f"warning: {warning}", "  ") for warning in summary["warnings"]]
    files = [f"  {folder / name}" for name in ("report.html", "label_issues.parquet", "summary.json")]
    return "\n".join(
        [filled(heading), filled(judgement["reason"], "  "), facts_text(rows), *warnings, *files]
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
