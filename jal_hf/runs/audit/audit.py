"""The audit of a finished run: which of its training labels look wrong, and how noisy the data is."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from jal_hf.analysis.folds import check_folds, cross_validated_probabilities
from jal_hf.analysis.judgement import LEAST_AGREEMENT, Judgement, find_suspects, judge_labels
from jal_hf.analysis.label_issues import FloatArray, LabelIssues, find_label_issues
from jal_hf.analysis.predictions import example_losses, softmax
from jal_hf.analysis.reporting import check_services, report_audit
from jal_hf.data.arguments import DATASET_OBJECT
from jal_hf.data.column_values import integer_column
from jal_hf.ground.files import refuse_links, write_json
from jal_hf.ground.record import RunRecord
from jal_hf.losses import create_loss
from jal_hf.runs.audit.cleaning import Cleaning, clean_labels, emptied_class_warnings, read_decisions
from jal_hf.runs.audit.export import export_cleaned
from jal_hf.runs.audit.fold_training import recipe_trainer
from jal_hf.runs.audit.report import Summary, audit_summary, write_page, write_plots
from jal_hf.runs.audit.run_data import PROBE, RunData, load_run_data, probe_probabilities
from jal_hf.runs.audit.text_data import load_text_run
from jal_hf.runs.config import RunConfig
from jal_hf.runs.parts import check_network
from jal_hf.runs.repeat import config_of_run, refuse_strange_sources
from jal_hf.runs.texts import TASK

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        folder: where it was written.
        issues: the training rows by rank.
        judgement: how many labels look wrong, and how far to believe it.
        probabilities: of the judge, (N, K), in the order of the training rows.
        data: the run's model and data.
    """

    folder: Path
    issues: LabelIssues
    summary: Summary
    judgement: Judgement
    probabilities: FloatArray
    data: RunData

    def export(
        self,
        folder: str | Path,
        how: str | None = "drop",
        *,
        threshold: str | float = "auto",
        decisions: str | Path | Mapping[int, int] | None = None,
    ) -> tuple[Cleaning, str]:
        """Write the corrected dataset into an empty folder; returns what was changed, and the form written.

        Rows that were held back for validation are judged too, by the run's model, which never saw them, and go back
        to the training rows; a validation split of the data's own stays as it is. Rows that the run left out, by
        `max_train_samples` or because they are no images or have no label, are not in the export. A class that loses
        most of its rows is named in a warning first.

        Args:
            how: `drop`, `relabel` or `weights`; None applies decisions alone. See `clean_labels`.
            threshold: `auto` takes as many suspects as the estimated noise; a number, all rows whose p of the given
                label is smaller. See `find_suspects`.
            decisions: file that the review page saved, or decisions by row number; they come before any rule.

        Raises:
            ValueError: `auto` where the judge is too weak to tell, or decisions that do not fit.
            FileExistsError: the folder holds something.
        """
        names, data = self.data.class_names, self.data.data
        if isinstance(decisions, str | Path):
            decisions = read_decisions(decisions, names)
        rows, given, index, judged = data["train"], self.data.given, self.data.index, self.probabilities
        files = self.data.names("train")
        if "validation" in data and not data.facts.own_validation:
            held = data["validation"]
            rows = datasets.concatenate_datasets([rows, held])
            given = np.concatenate([given, integer_column(held, data.label_column)])
            index = np.concatenate([index, integer_column(held, "index")])
            judged = np.concatenate([judged, self.data.held_back_probabilities()])
            more = self.data.names("validation")
            files = None if files is None or more is None else [*files, *more]
        suspects = np.zeros(len(given), dtype=bool)
        if how in ("drop", "relabel"):
            suspects = find_suspects(judged, given, self.judgement, threshold)
        cleaning = clean_labels(
            judged, given, suspects, how=how, index=index, files=files, class_names=names, decisions=decisions
        )  # fmt: skip
        for sentence in emptied_class_warnings(cleaning, given, names):
            logger.warning(sentence)
        return cleaning, export_cleaned(data, rows, cleaning, Path(folder))


def audit_run(
    run: str | Path,
    *,
    dataset: Any = None,
    noise: str | None = None,
    folds: int = 0,
    top: int = 10_000,
    trust: bool = False,
    report_to: Sequence[str] = (),
    config: RunConfig | None = None,
) -> Audit:
    """Rank the run's training labels and write `RUN/audit/`: label_issues.parquet, report.html, summary.json.

    Args:
        run: Folder of a finished run.
        dataset: In place of the run's own: a name, or a Hugging Face dataset or dict of splits of the same classes.
        noise: Noise spec in place of the run's. Another dataset object than the run's gets none unless said; a run that
            was trained on an object is given that object again, and puts its noise on it.
        folds: At least 2 judges by out-of-sample probabilities: the recipe is trained that many times, each time
            without the rows it then judges.
        top: Rows listed on the page; the table holds all.
        trust: Data and weights that the record of a run made elsewhere names may be loaded.
        report_to: Where the plots and the worst labels' images go too: `tensorboard`, `wandb`, or both.
        config: The run's settings, for records that keep none.

    Raises:
        ValueError, FileNotFoundError: Before any long work, for a folder without a finished run, a streaming run,
            impossible folds, or a record from elsewhere whose data is not trusted.
    """
    if folds == 1 or folds < 0:
        raise ValueError(
            f"{folds} folds were asked for; give 0 to judge by the run's own model, or at least 2."
        )
    if top < 1:
        raise ValueError(f"top is {top}; list at least one row on the page.")
    check_services(report_to)
    folder = Path(run)
    record = RunRecord.read(folder)
    refuse_links(folder, ["audit"])
    is_text = record.model.get("task") == TASK
    if is_text and folds:
        raise ValueError(
            "A run on text is judged by the probe of its fine-tuning, which went by folds; leave folds out."
        )
    target = folder / "audit"
    given = None if dataset is None or isinstance(dataset, str | Path) else dataset
    config = _settings(
        folder, record, config, dataset if given is None else None, noise, given is not None, trust
    )
    refuse_strange_sources(folder, config, trust=trust or dataset is not None, with_model=folds > 0)
    trained, named = str(record.model.get("name")), config.model.model
    if folds and Path(trained).name != Path(named).name:
        raise ValueError(
            f"Folds train a network by name, and that of this run, {trained}, was given as an object. Leave folds out "
            "to judge by the run's own model."
        )
    if folds:
        check_network(config)
    load = load_text_run if is_text else load_run_data
    loaded = load(folder, record, config, given=given, is_other_data=dataset is not None or noise is not None)
    if folds:
        check_folds(loaded.given, folds)
    logits = loaded.logits(loaded.images, "judging labels")
    probabilities = softmax(logits)
    probed = None if folds else probe_probabilities(folder, loaded.data, "train")
    criterion = create_loss(str(record.loss["name"]), **{**record.loss["params"], "reduction": "none"})

    judged = probabilities
    if probed is not None:
        judged = probed
    if folds:
        trainer = recipe_trainer(config.replace(output_dir=str(target / "folds")), loaded.data)
        judged = cross_validated_probabilities(loaded.given, folds, int(record.seed or 0), trainer)
    if judged is not probabilities:
        # Only the softmax of the judge's logits is kept; its logarithm has that softmax again.
        logits = np.log(np.maximum(judged, np.finfo(np.float64).tiny))
    losses = example_losses(criterion, logits, loaded.given)
    issues = find_label_issues(judged, loaded.given, loaded.clean, index=loaded.index, losses=losses)
    judge = f"{folds}-fold cross-validation" if folds else "the run's own model" if probed is None else PROBE
    judgement = judge_labels(
        judged,
        loaded.given,
        is_out_of_sample=judge != "the run's own model",
        is_useful=float(record.headline.get("accuracy") or 0.0) >= LEAST_AGREEMENT,
    )
    summary = audit_summary(record, loaded, issues, probabilities, judged, judge, judgement)
    try:
        is_suspect = find_suspects(judged, loaded.given, judgement)
    except ValueError:
        is_suspect = None
    summary["suspects"] = None if is_suspect is None else int(is_suspect.sum())
    known_as = loaded.names("train")
    position = {int(number): place for place, number in enumerate(loaded.index)}
    order = np.array([position[int(number)] for number in issues.index])
    column = "file" if loaded.has_pictures else "text"
    extra: dict[str, Any] = {} if known_as is None else {column: [known_as[place] for place in order]}
    extra |= issues.named(loaded.class_names)
    if is_suspect is not None:
        extra["suspect"] = is_suspect[order]

    issues.write(target / "label_issues.parquet", extra)
    write_page(target, record, loaded, issues, summary, top, extra.get(column))
    pictures = write_plots(target, record, loaded, issues)
    write_json(target / "summary.json", summary)
    report_audit(folder, pictures, report_to, title=record.title, step=int(record.training.get("steps") or 0))
    return Audit(target, issues, summary, judgement, judged, loaded)


def _settings(
    folder: Path,
    record: RunRecord,
    config: RunConfig | None,
    dataset: str | Path | None,
    noise: str | None,
    is_object: bool,
    trust: bool,
) -> RunConfig:
    found = config_of_run(folder, record, trust=trust) if config is None and record.config else config
    if found is None:
        if not is_object and dataset is None:
            found = config_of_run(folder, record)  # says what is missing
        found = RunConfig.from_recipe(
            "imagefolder", augment="none", eval_strategy="no", loss=str(record.loss["name"])
        )
    changes: dict[str, Any] = {}
    if dataset is not None:
        changes["dataset"] = str(dataset)
    if noise is not None or (is_object and found.data.dataset != DATASET_OBJECT):
        changes["noise"] = noise or "none"
    return found.replace(**changes)
