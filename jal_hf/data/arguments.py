"""The data flags of the command line, with the help text that teaches each one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

DATASET_OBJECT = "a dataset given as an object"
"""Stands for the name of data that came as an object, which no config can hold."""
AUGMENTS = ("none", "crop-flip", "crop-flip-rotate", "randomresizedcrop", "resize-crop-flip")


@dataclass(frozen=True)
class DataArguments:
    """What to train on and what is done to it; `HfArgumentParser` turns every field into a flag."""

    _argument_group_name: ClassVar[str] = "data and noise"

    dataset: str = field(
        default="digits",
        metadata={
            "help": "Hub id (uoft-cs/cifar10), local folder (Hub layout, parquet files, class folders, save_to_disk, "
            "WebDataset tar shards; a glob such as 'shards/train-*.tar' works too), a CSV or parquet table of image "
            "paths and labels, the built-in 'digits', or 'webvision:FOLDER' / 'clothing1m:FOLDER' for those sets in "
            "their published form."
        },
    )
    dataset_config: str | None = field(
        default=None,
        metadata={"help": "Configuration of a Hub dataset that has several, for example 'plain_text'."},
    )
    train_split: str | None = field(
        default=None, metadata={"help": "Split to train on. Default: 'train', or the only split there is."}
    )
    eval_split: str | None = field(
        default=None,
        metadata={"help": "Split to test on. Default: 'test', else 'validation', 'val', 'valid' or 'dev'."},
    )
    image_column: str | None = field(
        default=None,
        metadata={"help": "Column with the images. Default: found by type, then by usual names."},
    )
    label_column: str | None = field(
        default=None,
        metadata={
            "help": "Column with the labels (integers or strings). Default: found by type, then by usual "
            "names."
        },
    )
    num_classes: int | None = field(
        default=None,
        metadata={
            "help": "Number of classes; only needed for a stream that neither names its classes nor ends, "
            "since "
            "nothing can then be counted before training."
        },
    )
    max_train_samples: int | None = field(
        default=None,
        metadata={
            "help": "Train on this many rows, drawn by seed before any noise; noise stays keyed by row "
            "number."
        },
    )
    max_eval_samples: int | None = field(
        default=None,
        metadata={"help": "Test on this many rows, drawn by seed. The headline figures need them all."},
    )
    val_fraction: float = field(
        default=0.0,
        metadata={
            "help": "Share of the training rows, with their noisy labels, kept as a validation split "
            "(stratified, "
            "seeded). The test split is never used to choose anything."
        },
    )
    streaming: bool = field(
        default=False,
        metadata={
            "help": "Read rows as they come instead of building a cache; needs --max_steps, for no stream "
            "tells its rows, and noise mode=iid."
        },
    )
    noise: str = field(
        default="none",
        metadata={
            "help": "Label noise put on the training labels, KIND:RATE[,key=value]: symmetric:0.4, "
            "asymmetric:0.3, "
            "pairflip:0.2, idn:0.4, matrix:T.npy, labels:FILE#COLUMN, human:FILE#COLUMN, or none."
        },
    )
    noise_seed: int | None = field(
        default=None,
        metadata={
            "help": "Seed of the noise. Default: the run's --seed; give it to vary training seeds over "
            "fixed labels."
        },
    )
    image_size: int | None = field(
        default=None,
        metadata={"help": "Side of the square images fed to the model, in pixels. Default: the model's."},
    )
    image_mean: list[float] | None = field(
        default=None,
        metadata={"help": "Mean per channel of pixels in [0, 1], subtracted. Default: the model's."},
    )
    image_std: list[float] | None = field(
        default=None, metadata={"help": "Standard deviation per channel, divided by. Default: the model's."}
    )
    augment: str = field(
        default="none",
        metadata={
            "help": "Training augmentation: none, crop-flip (pad 4 at 32 pixels), crop-flip-rotate (and 20 "
            "degrees), "
            "randomresizedcrop (and flip, colour jitter), resize-crop-flip.",
            "choices": list(AUGMENTS),
        },
    )
    on_bad_image: str = field(
        default="error",
        metadata={
            "help": "Unreadable images: 'error' stops and names the row; 'skip' reads every image once "
            "beforehand, "
            "drops and counts the bad ones, and still refuses more than 5 %%.",
            "choices": ["error", "skip"],
        },
    )
    max_length: int | None = field(
        default=None,
        metadata={
            "help": "Tokens of a text that are read, special ones counted; the rest is cut off, and so is what the "
            "encoder has no places for. Of jal-hf finetune --task text. Default: 128."
        },
    )
    unlabelled: str = field(
        default="error",
        metadata={
            "help": "Rows whose label is empty or -1: 'error' stops and names them; 'drop' leaves them out and "
            "counts them.",
            "choices": ["error", "drop"],
        },
    )
