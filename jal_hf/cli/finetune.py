"""`jal-hf finetune DATA`: own data of unknown label noise, from checks to a robust model."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence

from jal_hf.cli.flags import explicit_flags, train_parser
from jal_hf.cli.output import taken_output_flags

HELP = "own data with wrong labels: checks, suspects, and a robust model from pretrained weights"
_HELP = """\
usage: jal-hf finetune DATA [--model NAME] [--weights FILE] [--output_dir DIR]
                       [--flags]

Fine-tune a pretrained network on images or text some of whose labels are
wrong. Labels are taken as they are, unless --noise adds wrong ones, as in an
experiment whose truth is known.

  jal-hf finetune MY_FOLDER --model resnet50.a1_in1k
  jal-hf finetune reviews.csv --task text --model MODEL_FOLDER
  jal-hf finetune labels.csv --model tf_efficientnet_lite0 --weights lite0.pth

DATA is a folder of class folders (with or without train/ and test/), a CSV or
parquet table of paths and labels, a save_to_disk folder, or a Hub id.
Stages: load and check; hold noisy validation rows back; features of the frozen
backbone; a probe that says how noisy the labels are and which are suspect;
robust fine-tuning beside cross entropy and the probe alone. The best by noisy
validation is the folder's model. The same line again goes on where it was cut
off.

  --model NAME          timm name (its published weights are loaded),
                        hf-hub:OWNER/REPO, or a folder
  --task image|text     text takes a table or Hub id with a column of text
                        (--text_column), and a transformers encoder
  --pooling auto|mean|first
                        what a classifier of text reads: the mean of all
                        tokens, as sentence encoders are trained to be read, or
                        the first one (default: what the encoder's files say,
                        else what a probe tells more from)
  --max_length N        tokens of a text that are read (default: 128, or the
                        encoder's places where those are fewer)
  --weights FILE        start from a .safetensors or .pth file instead
  --output_dir DIR      default: runs/finetune-DATA
  --image_size N        default: the model's, or what the images show where
                        that is less
  --val_fraction F      share of noisy rows held back (default: 0.1)
  --num_train_epochs N  default: 10
  --freeze, --loss, --learning_rate, --seed, ...
                        any flag of `jal-hf train` (--help-all there lists them)
  --noise SPEC          put wrong labels on the training rows first, those held
                        back among them (default: none)
  --overwrite           begin anew in a folder that holds another fine-tuning
  --json, --quiet       print the record as JSON; or only the folder

Afterwards: `jal-hf audit DIR --review`, `jal-hf predict DIR FILES`,
`jal-hf audit DIR --export CLEAN --drop`."""


def parser() -> argparse.ArgumentParser:
    """All flags, for the completion of a shell."""
    result: argparse.ArgumentParser = train_parser("jal-hf finetune")
    return result


def main(words: Sequence[str]) -> int:
    """Run all stages and print what each found."""
    if not words or any(word in ("-h", "--help") for word in words):
        print(_HELP)
        if words:
            raise SystemExit(0)
        raise ValueError("Say what to train on: jal-hf finetune DATA.")
    from jal_hf.runs.finetune.finetune import finetune

    output, words = taken_output_flags(words)
    data, *rest = words or ["-"]
    if data.startswith("-"):
        raise ValueError(f"The data comes first: jal-hf finetune DATA {data} ...")
    own, rest = _own_flags(rest)
    changes = explicit_flags(rest)
    if "recipe" in changes or "dataset" in changes:
        raise ValueError("The data is named once, as the first word: jal-hf finetune DATA --model NAME.")
    for switch in ("fast", "best"):
        changes.pop(switch, None)
    overwrite = bool(changes.pop("overwrite", False))
    with output.working():
        result = finetune(data, overwrite=overwrite, say=output.remark, **own, **changes)
    facts = {"folder": str(result.folder), **result.record.to_dict()}
    output.result(facts, f"  everything is in {result.folder}", brief=str(result.folder))
    if result.address is not None:
        output.remark(f"  pushed: {result.address}")
    place = shlex.quote(str(result.folder))
    output.remark(f"  next: jal-hf audit {place} --export CLEAN_FOLDER --drop")
    return 0


def _own_flags(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """What this command takes beside the flags of `jal-hf train`, by name, and the other words."""
    own: dict[str, str] = {}
    rest: list[str] = []
    left = iter(words)
    for word in left:
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name in ("task", "text_column", "pooling"):
            own[name] = value if equals else next(left, "")
        else:
            rest.append(word)
    return own, rest
