"""The parts of a run, from its config: data, image datasets, model and trainer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from transformers import IntervalStrategy, set_seed
from transformers.integrations import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations

from jal_hf.data import NoisyDatasetDict, find_duplicates, load_noisy_dataset
from jal_hf.data.subsets import cut_validation
from jal_hf.ground.sentences import shortened
from jal_hf.losses import RobustLoss, create_loss
from jal_hf.models import as_run_model, create_model, default_in_chans, freeze, start_head, weights_source
from jal_hf.models.create import check_start
from jal_hf.models.preprocessing import Preprocessing
from jal_hf.runs.config import OWN_DATA_RECIPE, RunConfig
from jal_hf.runs.recipes import list_recipes
from jal_hf.training.arguments import JALTrainingArguments, parse_json_object
from jal_hf.training.inputs import RawImages
from jal_hf.training.methods import create_method
from jal_hf.training.trainer import RobustTrainer

_METRICS = ("loss", "accuracy", "top5_accuracy")
_VALIDATION = "validation_"
OWN_DATA = (OWN_DATA_RECIPE, "finetune")
"""Recipes of own data, whose validation split is used where it has one."""
HELD_BACK = 0.1
"""Share of the training rows that scores a run whose data has no test split."""


def check_config(config: RunConfig) -> JALTrainingArguments:
    """Find what cannot be trained before any data is loaded, and give the run's arguments.

    Raises:
        ValueError: A loss, method or parameter that doesn't exist, or values that cannot work together.
    """
    args = config.arguments()
    if args.overwrite and args.resume_from_checkpoint:
        raise ValueError(
            "--overwrite starts again and --resume goes on; give one of them. For a line that is run until it ends, "
            "--resume auto begins where nothing is and goes on where something is."
        )
    # What preset 'auto' adds is known with the data; the kind of loss is known before.
    criterion = create_loss(config.loss, **config.loss_args)
    if args.preset != "auto":
        _check_finite(criterion)
    best = (args.metric_for_best_model or "loss").removeprefix("eval_")
    if best.removeprefix(_VALIDATION) not in _METRICS:
        names = ", ".join((*_METRICS, *(_VALIDATION + name for name in _METRICS)))
        raise ValueError(f"metric_for_best_model must be one of {names}, got {shortened(best)!r}.")
    if args.neftune_noise_alpha is not None:
        raise ValueError(
            "neftune_noise_alpha is for models of text: a network of images has no token embeddings."
        )
    wanted = {str(name) for name in args.report_to or ()}
    unknown = sorted(wanted - set(INTEGRATION_TO_CALLBACK))
    if unknown:
        known = ", ".join(INTEGRATION_TO_CALLBACK)
        raise ValueError(f"report_to must be none, all or one of {known}, got {shortened(unknown[0])!r}.")
    missing = sorted(wanted & set(INTEGRATION_TO_CALLBACK) - set(get_available_reporting_integrations()))
    if missing:
        raise ImportError(
            f"report_to {missing[0]!r} needs {missing[0]}, which is not installed: pip install {missing[0]}."
        )
    method = create_method(args.method, parse_json_object("method_args", args.method_args))
    method.check(criterion, is_stream=bool(config.data.streaming))
    return args


def check_network(config: RunConfig) -> None:
    """Find a network, folder or file of weights that isn't there before any data is loaded.

    Raises:
        ValueError, FileNotFoundError: As `check_start`.
    """
    check_start(config.model.model, pretrained=config.model.pretrained, weights=config.model.weights)


def _check_finite(criterion: RobustLoss) -> None:
    """Nothing, where a loss has a finite value and gradient for a network that knows nothing yet.

    Raises:
        ValueError: It has none: a parameter is too large for float32.
    """
    classes = 10 if criterion.weight is None else len(criterion.weight)
    logits = torch.zeros(2, classes, requires_grad=True)
    value = criterion(logits, torch.zeros(2, dtype=torch.long))
    gradient = torch.autograd.grad(value, logits)[0]
    if not (value.isfinite() and gradient.isfinite().all()):
        raise ValueError(f"The loss {criterion} is not finite for any network: its parameters are too large.")


def load_data(config: RunConfig, given: Any = None) -> Any:
    """The dataset of a run, noise included; `given` is a dataset object in place of the config's name.

    Data without a test split is scored on rows held back from training, unless the config says how it is scored.
    """
    data = config.data
    if data.max_length is not None:
        raise ValueError("max_length is for text: add --task text to jal-hf finetune, or leave it out.")
    found = load_noisy_dataset(
        data.dataset if given is None else given,
        dataset_config=data.dataset_config,
        train_split=data.train_split,
        eval_split=data.eval_split,
        image_column=data.image_column,
        label_column=data.label_column,
        num_classes=data.num_classes,
        noise=data.noise,
        noise_seed=data.noise_seed if data.noise_seed is not None else config.seed,
        max_train_samples=data.max_train_samples,
        max_eval_samples=data.max_eval_samples,
        val_fraction=data.val_fraction,
        own_validation=_is_own_data(config) and "val_fraction" not in config.asked,
        streaming=data.streaming,
        on_bad_image=data.on_bad_image,
        unlabelled=data.unlabelled,
        seed=config.seed,
    )
    if data.num_classes is not None and data.num_classes != found.num_classes:
        raise ValueError(
            f"num_classes is {data.num_classes}, and the data has {found.num_classes} classes. Leave the setting out: "
            "it is for streams whose classes cannot be counted."
        )
    return found if _says_how_it_is_scored(config, found) else with_validation(found, config.seed)


def _is_own_data(config: RunConfig) -> bool:
    """Whether no paper's recipe says how the data is used: a file of one's own is as good as none."""
    return config.recipe in OWN_DATA or config.recipe not in list_recipes()


def _says_how_it_is_scored(config: RunConfig, data: Any) -> bool:
    is_scored = str(config.training.get("eval_strategy") or "no") != "no"
    return bool(
        not is_scored
        or config.data.streaming
        or "val_fraction" in config.asked
        or {"test", "validation"} & {*data}
    )


def with_validation(data: NoisyDatasetDict, seed: int, fraction: float = HELD_BACK) -> NoisyDatasetDict:
    """Data with a validation split cut from its training rows, and a warning that says so.

    Labels of the split are as noisy as those that are trained on: its accuracy is a lower bound that ranks models, not
    a share of right answers. Data too small to give rows of its classes away comes back as it is.
    """
    train, column = data["train"], data.label_column
    groups = find_duplicates({"train": train}, data.image_column, column).groups["train"]
    try:
        rest, validation = cut_validation(train, column, fraction, seed, groups)
    except ValueError:
        return data
    if validation is None:
        return data
    sentence = (
        f"There is no test split: {len(validation):,} of {len(train):,} training rows were held back, with their "
        "labels as they are, to score the model; --val_fraction says another share, and 0 trains on all of them."
    )
    facts = replace(data.facts, warnings=(*data.facts.warnings, sentence))
    return NoisyDatasetDict({**data, "train": rest, "validation": validation}, facts)


def build_model(config: RunConfig, data: Any) -> Any:
    """The network of a run, for the classes and images of its data."""
    asked = config.data
    model = create_model(
        config.model.model,
        num_labels=data.num_classes,
        class_names=data.class_names,
        image_size=asked.image_size,
        in_chans=default_in_chans(config.model.model, len(asked.image_mean) if asked.image_mean else None),
        mean=asked.image_mean,
        std=asked.image_std,
        pretrained=config.model.pretrained,
        weights=config.model.weights,
    )
    source = weights_source(model)
    if config.model.head_start != "own" and source is not None and source.fresh_head:
        start_head(model, config.model.head_start)
    return freeze(model, config.model.freeze)


def given_model(config: RunConfig, data: Any, model: nn.Module) -> nn.Module:
    """A network of the user's own for a run: named classes, and the run's preprocessing where it knows none.

    One that says how its images are prepared keeps that, but for what was asked explicitly.
    """
    fields = {"image_size": "image_size", "mean": "image_mean", "std": "image_std"}
    wanted = {word: getattr(config.data, name) for word, name in fields.items()}
    if hasattr(model, "config"):
        wanted = {word: config.asked.get(name) for word, name in fields.items()}
    known = {word: value for word, value in wanted.items() if value is not None}
    return as_run_model(model, None if hasattr(model, "config") else data.class_names, known or None)


def build_trainer(
    config: RunConfig,
    data: Any,
    *,
    args: JALTrainingArguments | None = None,
    model: Any = None,
    trainer_class: type[RobustTrainer] = RobustTrainer,
    **options: Any,
) -> RobustTrainer:
    """Model, image datasets and trainer of a run; `options` go to the trainer."""
    args = args or config.arguments()
    _check_best_model(args, data)
    set_seed(args.seed)
    model = build_model(config, data) if model is None else given_model(config, data, model)
    if not hasattr(model, "config"):  # which tells neither classes nor images
        options = {"num_classes": data.num_classes, "preprocessing": _preprocessing(config), **options}
    if "test" not in data and "validation" not in data and str(args.eval_strategy.value) != "no":
        if "eval_strategy" in config.asked:
            raise ValueError(
                f"eval_strategy {args.eval_strategy.value!r} was asked for, and the data has neither a test nor a "
                "validation split; give one, hold rows back with --val_fraction, or leave eval_strategy out."
            )
        args.eval_strategy = IntervalStrategy.NO
    return trainer_class(
        model=model,
        args=args,
        train_dataset=data["train"],
        eval_dataset=data.get("test"),
        validation_dataset=data.get("validation"),
        augment=config.data.augment,
        label_column=data.label_column,
        image_column=data.image_column,
        on_bad_image=config.data.on_bad_image,
        noise=known_noise(data),
        **options,
    )


def _preprocessing(config: RunConfig) -> Preprocessing | None:
    """How the run shows images to a network that says nothing of them; None where the run says too little."""
    size, mean, std = config.data.image_size, config.data.image_mean, config.data.image_std
    if size is None or not mean or not std:
        return None
    return Preprocessing((len(mean), size, size), tuple(mean), tuple(std))


def _check_best_model(args: JALTrainingArguments, data: Any) -> None:
    """Nothing, where an evaluation of the data gives the figure that tells the best model.

    Raises:
        ValueError: It gives none.
    """
    metric = (args.metric_for_best_model or "").removeprefix("eval_")
    if args.load_best_model_at_end and not {"test", "validation"} & {*data}:
        raise ValueError(
            "load_best_model_at_end needs rows to score, and the data has neither a test nor a validation split; give "
            "one, or hold rows back with --val_fraction."
        )
    if metric.startswith(_VALIDATION) and "validation" not in data:
        raise ValueError(
            f"metric_for_best_model {metric!r} needs a validation split, and the data has none; hold rows back with "
            f"--val_fraction, or choose by the test split's {metric.removeprefix(_VALIDATION)!r}."
        )
    if metric.endswith("top5_accuracy") and data.num_classes <= 5:
        raise ValueError(
            f"metric_for_best_model {metric!r} needs more than 5 classes, and the data has {data.num_classes}; "
            f"choose by {metric.replace('top5_', '')!r}."
        )


def known_noise(data: Any) -> Any:
    """What the data says of its noise, for preset 'auto': a transition matrix, or None."""
    report = getattr(data, "noise_report", None)
    return getattr(report, "transition_matrix", None) or getattr(report, "realised_matrix", None)


def image_dataset(config: RunConfig, data: Any, split: str, model: Any) -> Any:
    """One split of a run's data as a torch dataset of ready batches, as it is evaluated."""
    images = RawImages(
        model, config.data.augment, config.seed, data.label_column, data.image_column,
        on_bad_image=config.data.on_bad_image, num_classes=data.num_classes, preprocessing=_preprocessing(config),
    )  # fmt: skip
    return images.ready(data[split], train=False)
