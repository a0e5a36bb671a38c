"""`jal-hf train --help`: the flags that matter, in the order in which people need them; `--help-all` has the rest."""

from __future__ import annotations

import argparse
import textwrap

from jal_hf.runs.config import OWN_DATA_RECIPE
from jal_hf.runs.recipes import list_recipes, load_recipe
from jal_hf.runs.values import known_fields

WIDTH = 80
SHOWN = (
    "dataset",
    "noise",
    "loss",
    "method",
    "model",
    "weights",
    "num_train_epochs",
    "learning_rate",
    "val_fraction",
    "seed",
    "output_dir",
)
_SHORTER = {
    "dataset": "Hub id, image folder, CSV or parquet of paths and labels, or 'digits'.",
    "noise": "Noise put on the labels: symmetric:0.4, asymmetric:0.3, human:FILE#COLUMN, none.",
    "loss": "Robust loss by name; `jal-hf losses` lists them.",
    "method": "Training method around the loss, such as twin+ema; `plain` is the loss alone.",
    "model": "timm name, hf-hub:OWNER/REPO, or a local folder with a checkpoint.",
    "weights": "Start from a file of weights; --pretrained takes timm's published ones.",
    "num_train_epochs": "Passes over the training rows.",
    "learning_rate": "Rate of the first epoch; on your own data it follows batch and loss.",
    "val_fraction": "Share of the noisy training rows held back to choose by; never test data.",
    "seed": "Seed of weights, order, augmentation and, unless --noise_seed, noise.",
    "output_dir": "The run's folder. Default: runs/RECIPE-LOSS-NOISE-seedN.",
}


def short_train_help() -> str:
    """At most 60 lines of 80 columns."""
    lines = [
        "usage: jal-hf train [RECIPE] [--flags]",
        "",
        *_paragraph("Train one robust classifier and leave its weights, card, record and plots in a folder."),
        "",
        *_paragraph(
            f"RECIPE is {', '.join(list_recipes())}, a YAML file, or a finished run (its folder or "
            "run.json) to train again; flags override it. "
            "Without RECIPE, --dataset means your own data: nothing is added to its labels unless --noise asks for it."
        ),
        "",
        "  jal-hf train                              the built-in digits, in seconds",
        "  jal-hf train --dataset MY_FOLDER          your class folders",
        "  jal-hf train cifar10 --loss gce --noise symmetric:0.4",
        "",
        "flags:",
    ]
    for name in SHOWN:
        assert name in known_fields()
        lines += _flag(f"--{name}", _SHORTER[name])
    lines += _flag("--fast", "The recipe's faster settings; the record says what they change.")
    lines += _flag("--best", "The loss and method recommended for the recipe's data.")
    lines += _flag("--resume auto", "Go on with an interrupted run.")
    lines += _flag("--overwrite true", "Replace the run in the folder once the new one is whole.")
    lines += _flag("--json, --quiet", "Print the record as JSON; or only the run's folder.")
    lines += _flag("--push_to_hub true", "Push weights and card when done; --hub_model_id OWNER/REPO.")
    return "\n".join(
        [
            *lines,
            "",
            *_paragraph(
                f"The other {len(known_fields()) - len(SHOWN)} flags, every one of transformers' TrainingArguments "
                "among them: jal-hf train --help-all"
            ),
            *_paragraph(
                "Exit codes: 0 done, 1 failed, 2 bad input, 130 or 143 stopped by a signal, checkpoint saved."
            ),
        ]
    )


def show_package_defaults(parser: argparse.ArgumentParser) -> None:
    """Show what a run does where a flag is left out, in place of defaults that no recipe keeps."""
    from jal_hf.runs.fitted_training import FITTED_FIELDS

    recipes = {name: load_recipe(name).settings for name in list_recipes()}
    for action in parser._actions:
        name = action.dest
        if name == "output_dir":
            action.default = "runs/RECIPE-LOSS-NOISE-seedN"
        if action.default is None and "Default:" in (action.help or ""):
            continue
        own = recipes[OWN_DATA_RECIPE].get(name, action.default)
        if all(settings.get(name, action.default) == own for settings in recipes.values()):
            action.default = own
        elif name == "dataset":
            action.default = "the recipe's"
        elif name in FITTED_FIELDS:
            action.default = "the recipe's; for own data by the data"
        else:
            action.default = f"the recipe's; for own data {'none' if own is None else own}"


def _flag(flag: str, text: str) -> list[str]:
    first, *rest = textwrap.wrap(text, WIDTH - 24)
    return [f"  {flag:<20}  {first}", *(f"{'':<24}{line}" for line in rest)]


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH)
