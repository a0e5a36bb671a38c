"""`jal-hf finetune DATA`: own data of unknown label noise, from checks to a robust model."""

from __future__ import annotations

from collections.abc import Sequence

from jal_hf.cli.flags import explicit_flags

HELP = "own data with wrong labels: checks, suspects, and a robust model from pretrained weights"
_HELP = """\
usage: jal-hf finetune DATA [--model NAME] [--weights FILE] [--output_dir DIR] [--flags]

Fine-tune a pretrained network on images some of whose labels are wrong. Nothing is added to the labels.

  jal-hf finetune MY_FOLDER --model resnet50.a1_in1k
  jal-hf finetune labels.csv --model tf_efficientnet_lite0 --weights efficientnet.pth

DATA is a folder of class folders (with or without train/ and test/), a CSV or parquet table of paths and labels, a
save_to_disk folder, or a Hub id. Stages: load and check; hold noisy validation rows back; features of the frozen
backbone; a probe that says how noisy the labels are and which are suspect; robust fine-tuning beside cross entropy and
the probe alone. The best by noisy validation is the folder's model. The same line again goes on where it was cut off.

  --model NAME          timm name (its published weights are loaded), hf-hub:OWNER/REPO, or a folder
  --weights FILE        start from a .safetensors or .pth file instead
  --output_dir DIR      default: runs/finetune-DATA
  --image_size N        default: the model's, or what the images show where that is less
  --val_fraction F      share of noisy rows held back (default: 0.1)
  --num_train_epochs N  default: 10
  --freeze, --loss, --learning_rate, --seed, ...   any flag of `jal-hf train` (--help-all there lists them)
  --overwrite           begin anew in a folder that holds another fine-tuning

Afterwards: `jal-hf audit DIR --review`, `jal-hf audit DIR --export CLEAN --drop`, `jal-hf predict DIR FILES`."""


def main(words: Sequence[str]) -> int:
    """Run all stages and print what each found."""
    if not words or any(word in ("-h", "--help") for word in words):
        print(_HELP)
        if words:
            raise SystemExit(0)
        raise ValueError("Say what to train on: jal-hf finetune DATA.")
    from jal_hf.runs.finetune.finetune import finetune

    data, *rest = words
    if data.startswith("-"):
        raise ValueError(f"The data comes first: jal-hf finetune DATA {data} ...")
    changes = explicit_flags(rest)
    if "recipe" in changes or "dataset" in changes:
        raise ValueError("The data is named once, as the first word: jal-hf finetune DATA --model NAME.")
    for switch in ("fast", "best"):
        changes.pop(switch, None)
    overwrite = bool(changes.pop("overwrite", False))
    result = finetune(data, overwrite=overwrite, say=print, **changes)
    print(f"  everything is in {result.folder}")
    print(f"  next: jal-hf audit {result.folder} --export CLEAN_FOLDER --drop")
    return 0
