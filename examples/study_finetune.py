"""`jal-hf finetune` on class folders whose labels are made wrong: robust model, cross entropy and probe side by side.

A dataset in the Hub's layout becomes class folders: some training images, each in the folder of a label that noise may
have changed, and clean test images. `finetune` sees nothing but the folder; it chooses by noisy validation, ends at its
last epoch, and looks at the test folder once, for the table. The clean labels stay in `truth.json` beside the folder
and judge the suspects. A study that was stopped goes on with the same line.

    python examples/study_finetune.py --data uoft-cs/cifar10 --rows 1000 --noise symmetric:0.4 --seeds 0,1,2 \\
        --model tf_efficientnet_lite0 --weights efficientnet-lite0.pth --out runs/study-finetune
    python examples/study_finetune.py --data tweets_GroundTruth.txt --noise symmetric:0.3 --model MINILM_FOLDER
    python examples/study_finetune.py --out runs/study-finetune --table
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import datasets
import numpy as np

from jal_hf import audit_run, create_noise, finetune, load_noisy_dataset
from jal_hf.analysis.judgement import find_suspects, judge_labels
from jal_hf.cli.flags import explicit_flags
from jal_hf.data.columns import find_image_column, find_label_column
from jal_hf.data.text import load_text_dataset
from jal_hf.ground.files import read_object, write_json, write_text
from jal_hf.ground.places import published_spec
from jal_hf.ground.record import RECORD, RunRecord
from jal_hf.runs.audit.run_data import PROBE_FILE
from jal_hf.runs.finetune.candidates import PLAIN, PROBE, ROBUST

TRUTH, FIGURES = "truth.json", "figures.json"


def make_folder(
    data: str | datasets.DatasetDict,
    folder: Path,
    rows: int,
    test_rows: int,
    noise: str,
    seed: int,
    label_column: str | None = None,
) -> Path:
    """Write FOLDER/train/CLASS/ROW.png and FOLDER/test/CLASS/ROW.png; `truth.json` holds the clean labels.

    Args:
        data: Hub id, a folder in the Hub's layout or of `save_to_disk`, with `train` and `test`.
        folder: Taken as it is where it holds `truth.json`, which is written last.
        rows: Training images, drawn by `seed` as the noise is.
        test_rows: The first test images.
        noise: A spec of `jal-hf noise`; a file of labels has one for each training image of `data`.
        seed: Of subset and noise.
        label_column: Default: the only one.
    """
    if (folder / TRUTH).is_file():
        return folder
    if isinstance(data, str):
        is_saved = (Path(data) / "dataset_dict.json").is_file()
        data = datasets.load_from_disk(data) if is_saved else datasets.load_dataset(data)
    train, test = data["train"], data["test"]
    image_column = find_image_column(train.features, None)
    label_column = find_label_column(train.features, label_column)
    names = train.features[label_column].names
    chosen = np.sort(np.random.default_rng(seed).permutation(len(train))[:rows])
    clean = np.asarray(train[label_column][:])[chosen]
    given = create_noise(noise, num_classes=len(names), class_names=names).corrupt(clean, seed, index=chosen)
    _write(train.select(chosen), image_column, folder / "train", chosen, given, names)
    shown = np.arange(min(test_rows, len(test)))
    test_labels = np.asarray(test[label_column][:])[shown]
    _write(test.select(shown), image_column, folder / "test", shown, test_labels, names)
    write_json(
        folder / TRUTH,
        {
            "noise": published_spec(noise),
            "seed": seed,
            "wrong": float(np.mean(given != clean)),
            "labels": {f"{row:06d}.png": names[label] for row, label in zip(chosen, clean, strict=True)},
        },
    )
    return folder


def make_tables(ratings: Path, folder: Path, rows: int, test_rows: int, noise: str, seed: int) -> Path:
    """Write FOLDER/train.csv and FOLDER/test.csv: sentences that people found positive or negative.

    Args:
        ratings: A file of the ground truth that the source distribution of vaderSentiment 3.3.2 ships in
            additional_resources/hutto_ICWSM_2014.tar.gz: number, mean rating of 20 people, sentence, by tabs.
        rows: Training sentences; the rest as in `make_folder`.
    """
    if (folder / TRUTH).is_file():
        return folder
    lines = [
        line.split("\t", 2) for line in ratings.read_text(encoding="utf-8", errors="replace").splitlines()
    ]
    told = {text.strip(): float(mean) for _, mean, text in lines if float(mean) != 0}
    order = np.random.default_rng(seed).permutation(len(told))
    texts, names = list(told), ["negative", "positive"]
    clean = np.array([int(told[text] > 0) for text in texts])
    chosen, tested = order[:rows], order[rows : rows + test_rows]
    given = create_noise(noise, num_classes=2, class_names=names).corrupt(clean[chosen], seed)
    folder.mkdir(parents=True)
    for name, part, labels in (("train", chosen, given), ("test", tested, clean[tested])):
        content = {"text": [texts[row] for row in part], "label": [names[label] for label in labels]}
        datasets.Dataset.from_dict(content).to_csv(folder / f"{name}.csv")
    wrong = float(np.mean(given != clean[chosen]))
    labels = {str(row): names[clean[text]] for row, text in enumerate(chosen)}
    write_json(folder / TRUTH, {"noise": noise, "seed": seed, "wrong": wrong, "labels": labels})
    return folder


def _write(
    images: datasets.Dataset, column: str, folder: Path, rows: Any, labels: Any, names: Sequence[str]
) -> None:
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for image, row, label in zip(images[column], rows, labels, strict=True):
        image.save(folder / names[label] / f"{row:06d}.png")


def run_cell(folder: Path, out: Path, seed: int, settings: dict[str, Any]) -> Path:
    """Fine-tune on a folder; the record, `figures.json` and the card stay, the weights go where `settings` keep none.

    Returns:
        The folder of the run; one that holds `figures.json` is taken as it is.
    """
    figures = out / FIGURES
    if figures.is_file():
        return out
    finetune(str(folder), output_dir=out, seed=seed, say=print, **settings)
    truth = read_object(folder / TRUTH)
    rows = _judged(out, folder, truth["labels"])
    write_json(figures, {"noise": truth["noise"], "seed": seed, "wrong": truth["wrong"], **rows})
    return out


def run_on_cleaned(folder: Path, run: Path, how: str, out: Path, seed: int, settings: dict[str, Any]) -> Path:
    """Export what the run's probe makes of its labels, and fine-tune again on that."""
    cleaned = folder.with_name(out.name)
    if not (cleaned / TRUTH).is_file():
        shutil.rmtree(cleaned, ignore_errors=True)
        audit_run(run).export(cleaned, how)
        truth = read_object(folder / TRUTH)
        write_json(cleaned / TRUTH, {**truth, "wrong": _share_wrong(cleaned, truth["labels"])})
    return run_cell(cleaned, out, seed, settings)


def _share_wrong(folder: Path, truth: dict[str, str]) -> float:
    data = load_noisy_dataset(str(folder))
    names = [truth[Path(name).name] for name in data.file_names("train") or ()]
    labels = [data.class_names[label] for label in data["train"][data.label_column]]
    return float(np.mean([name != label for name, label in zip(names, labels, strict=True)]))


def _judged(run: Path, folder: Path, truth: dict[str, str]) -> dict[str, Any]:
    """How well the probe finds the wrong labels among the training rows, and cleanlab with the same probabilities."""
    from cleanlab.filter import find_label_issues
    from sklearn.metrics import roc_auc_score

    if (folder / "train.csv").is_file() and "0" in truth:
        data, names = load_text_dataset(str(folder)), sorted(truth, key=int)
    else:
        data = load_noisy_dataset(str(folder))
        names = [Path(name).name for name in data.file_names("train") or ()]
    with np.load(run / PROBE_FILE) as stored:
        index, given, probabilities = (stored[name] for name in ("index", "labels", "probabilities"))
    rows = int(RunRecord.read(run).finetune["rows"])
    index, given, probabilities = index[:rows], given[:rows], probabilities[:rows].astype(np.float64)
    labels = [data.class_names[label] for label in given]
    is_wrong = np.array([truth[names[row]] != label for row, label in zip(index, labels, strict=True)])
    judgement = judge_labels(probabilities, given, is_out_of_sample=True)
    found: dict[str, Any] = {"judgement": judgement.to_dict()}
    if 0 < is_wrong.mean() < 1:
        found["auroc"] = float(roc_auc_score(is_wrong, -probabilities[np.arange(rows), given]))
    suspects = {"cleanlab": find_label_issues(given, probabilities)}
    if judgement.noise_rate is not None:
        suspects["jal_hf"] = find_suspects(probabilities, given, judgement)
    for name, marked in suspects.items():
        hits = float((marked & is_wrong).sum())
        found[name] = {
            "suspects": int(marked.sum()),
            "precision": hits / max(1, int(marked.sum())),
            "recall": hits / max(1, int(is_wrong.sum())),
        }
    return found


def publish(out: Path, folder: Path) -> None:
    """Copy what the table is made of, each finished cell's record and figures, and no weights."""
    for figures in sorted(out.glob(f"*/{FIGURES}")):
        target = folder / figures.parent.name
        target.mkdir(parents=True, exist_ok=True)
        for name in (FIGURES, RECORD):
            shutil.copy2(figures.parent / name, target / name)


def table(out: Path) -> str:
    """The finished cells, seeds averaged, as a table of test accuracies and of suspects; all in per cent."""
    cells: dict[str, list[tuple[RunRecord, dict[str, Any]]]] = {}
    for figures in sorted(
        out.glob(f"*/{FIGURES}"), key=lambda path: path.parent.name.rpartition("-seed")[::2]
    ):
        name = figures.parent.name.rpartition("-seed")[0]
        cells.setdefault(name, []).append((RunRecord.read(figures.parent), read_object(figures)))
    lines = [
        "| folder | seeds | robust | cross entropy | probe | chosen | wrong labels, estimate | AUROC "
        "| suspects: precision / recall | cleanlab |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in cells.items():
        tests = {row["name"]: [] for row in found[0][0].finetune["candidates"]}
        chosen: list[float] = []
        for record, _ in found:
            for row in record.finetune["candidates"]:
                tests[row["name"]].append(100 * row["test_accuracy"])
                if row["chosen"]:
                    chosen.append(100 * row["test_accuracy"])
        ways = [_found(found, "jal_hf"), _found(found, "cleanlab")]
        rates = [one["judgement"]["noise_rate"] for _, one in found]
        wrong = f"{100 * fmean(one['wrong'] for _, one in found):.0f}, "
        wrong += f"{100 * fmean(rates):.0f}" if all(rate is not None for rate in rates) else "-"
        aurocs = [one["auroc"] for _, one in found if "auroc" in one]
        cells_of_row = [
            name,
            str(len(found)),
            *(_mean(tests[kind]) for kind in (ROBUST, PLAIN, PROBE)),
            _mean(chosen),
            wrong,
            f"{fmean(aurocs):.3f}" if aurocs else "-",
            *ways,
        ]
        lines.append(f"| {' | '.join(cells_of_row)} |")
    return "\n".join(lines) + "\n"


def _mean(values: Sequence[float]) -> str:
    return f"{fmean(values):.1f}" + (f" +- {stdev(values):.1f}" if len(values) > 1 else "")


def _found(found: Sequence[tuple[RunRecord, dict[str, Any]]], name: str) -> str:
    parts = [one[name] for _, one in found if name in one]
    if not parts:
        return "-"
    return " / ".join(f"{100 * fmean(part[kind] for part in parts):.0f}" for kind in ("precision", "recall"))


def main(words: Sequence[str] | None = None) -> str:
    """Make the folders, fine-tune what is left, and print the table; what is not the study's goes to `finetune`."""
    own, flags = parser().parse_known_args(words)
    settings = explicit_flags(flags)
    if not own.table:
        noise = Path(own.noise.partition(":")[2].partition("#")[0])
        kind = own.noise if not noise.is_file() else own.noise.partition("#")[2]
        ratings = Path(own.data) if own.data.endswith(".txt") else None
        name = f"{Path(own.data).stem}-{own.rows}-{kind.replace(':', '-')}"
        for seed in (int(seed) for seed in own.seeds.split(",")):
            folder = own.out / "folders" / f"{name}-seed{seed}"
            if ratings is not None:
                make_tables(ratings, folder, own.rows, own.test_rows, own.noise, seed)
                run_cell(folder, own.out / f"{name}-seed{seed}", seed, {**settings, "task": "text"})
                continue
            make_folder(own.data, folder, own.rows, own.test_rows, own.noise, seed, own.label_column)
            run = run_cell(folder, own.out / f"{name}-seed{seed}", seed, settings)
            for how in filter(None, own.cleaned.split(",")):
                run_on_cleaned(folder, run, how, own.out / f"{name}-{how}-seed{seed}", seed, settings)
    if own.publish is not None:
        publish(own.out, own.publish)
    found = table(own.out)
    write_text(own.out / "table.md", found)
    print(found)
    return found


def parser() -> argparse.ArgumentParser:
    """The study's own flags; any other is a setting of `finetune`, such as --model."""
    result = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--data", default="uoft-cs/cifar10")
    result.add_argument("--rows", type=int, default=1000)
    result.add_argument("--test_rows", type=int, default=1000)
    result.add_argument("--label_column")
    result.add_argument("--noise", default="symmetric:0.4")
    result.add_argument("--seeds", default="0,1,2")
    result.add_argument("--cleaned", default="", help="drop,relabel,weights: train on the exported data too")
    result.add_argument("--out", type=Path, default=Path("runs/study-finetune"))
    result.add_argument("--publish", type=Path, help="copy the records of finished cells into this folder")
    result.add_argument("--table", action="store_true", help="only print the table of what is finished")
    return result


if __name__ == "__main__":
    main()
