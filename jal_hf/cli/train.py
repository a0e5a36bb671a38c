"""`jal-hf train`: one run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jal_hf.training.folder import already_finished
from jal_hf.training.record import read_record
from jal_hf.training.run import RunResult, run_training
from jal_hf.training.settings import RunSettings, parse_settings

HELP = "train one robust classifier"


def main(argv: Sequence[str]) -> int:
    """Train, draw the plots, write the card, and print a table of what came out."""
    settings = parse_settings(argv)
    if already_finished(settings.training):
        _complete(Path(str(settings.training.output_dir)))
        return 0
    finish(settings, report=lambda result: print(summary(result.record, result.folder)))
    return 0


def _complete(folder: Path) -> None:
    """What a kill after the end of training may have left out of a finished run's folder: plots and card."""
    from jal_hf.analysis import plot_run
    from jal_hf.hub import write_card

    if int(os.environ.get("RANK", "0")) == 0:
        plot_run(folder)
        write_card(folder)
        print(summary(read_record(folder), folder))


def finish(
    settings: RunSettings, data: Any = None, report: Callable[[RunResult], None] | None = None
) -> RunResult:
    """Train and complete the run's folder with plots and card, report, and push it where that was asked.

    Raises:
        ValueError: Settings that cannot work, the right to push included, before any training.
        ConnectionError: The push failed; the folder is complete and the message says how to try again.
    """
    from jal_hf.analysis import plot_run, report_plots
    from jal_hf.hub import check_hub_access, push_run, repository_name, write_card

    args = settings.training
    if args.push_to_hub:
        name = args.hub_model_id or repository_name(str(args.output_dir))
        args.hub_model_id = check_hub_access(name, token=args.hub_token)
    result = run_training(settings, data)
    if result.trainer.is_world_process_zero():
        report_plots(result.trainer, plot_run(result.folder))
        write_card(result.folder)
        if report is not None:
            report(result)
        if args.push_to_hub:
            repo_id = str(result.trainer.hub_model_id)
            address = push_run(
                result.folder, repo_id, args.hub_private_repo, args.hub_token, revision=args.hub_revision
            )
            print(f"  pushed: {address}")
    return result


def summary(record: dict[str, Any], folder: Any) -> str:
    """The closing table: what was trained on what, and how well."""
    from jal_hf.hub.card_facts import training_time

    noise, metrics, training = record["noise"] or {}, record["metrics"], record["training"]
    last, best, train = metrics["last"] or {}, metrics["best"] or {}, metrics["train"] or {}
    loss = record["loss"]
    parameters = ", ".join(
        f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in _short(loss["params"])
    )
    speed = [f"{training['images_per_second']:.0f} images/s"] if training["images_per_second"] else []
    rows = [
        ("loss", f"{loss['name']}({parameters})"),
        ("noise", _noise(noise)),
        ("test accuracy, last epoch", _percent(last.get("accuracy"))),
        (
            "test accuracy, best epoch",
            f"{_percent(best.get('accuracy'))}  (epoch {best.get('epoch', 0):g})" if best else "-",
        ),
        ("test top-5 accuracy", _percent(last.get("top5_accuracy"))),
        ("noisy validation accuracy", _percent(last.get("validation_accuracy"))),
        ("training labels: clean recovered", _percent(train.get("clean_accuracy"))),
        ("training labels: wrong memorised", _percent(train.get("memorized_rate"))),
        ("time", ", ".join([str(training_time(training)), *speed, training["precision"]])),
        ("waiting for data", _percent(training["data_wait_share"])),
    ]
    rows = [(name, text) for name, text in rows if text != "-"]
    width = max(len(name) for name, _ in rows)
    body = "\n".join(f"  {name:<{width}}  {text}" for name, text in rows)
    warnings = "".join(
        f"\n  warning: {text}" for text in (*record["dataset"]["warnings"], *train.get("warnings", ()))
    )
    title = f"{record['recipe']}: {record['model']['name']} on {record['dataset']['name']}"
    return f"\n{title}\n{body}{warnings}\n  everything is in {folder}"


def _short(params: dict[str, Any]) -> list[tuple[str, Any]]:
    plain = ("reduction", "ignore_index", "weight")
    return [
        (name, value) for name, value in params.items() if name not in plain and not isinstance(value, dict)
    ]


def _noise(noise: dict[str, Any]) -> str:
    if not noise:
        return "-"
    asked, realised = noise.get("asked_rate"), noise.get("realised_rate")
    return f"{noise['spec']}, asked {_percent(asked)}, realised {_percent(realised)}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"
