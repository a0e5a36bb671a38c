"""The parts of a run, from its config: data, image datasets, model and trainer."""

from __future__ import annotations

from typing import Any

from transformers import set_seed

from jal_hf.data import load_noisy_dataset
from jal_hf.losses import create_loss
from jal_hf.models import create_model, default_in_chans
from jal_hf.runs.config import RunConfig
from jal_hf.training.arguments import JALTrainingArguments, parse_json_object
from jal_hf.training.inputs import RawImages
from jal_hf.training.methods import create_method
from jal_hf.training.trainer import RobustTrainer


def check_config(config: RunConfig) -> JALTrainingArguments:
    """Find what cannot be trained before any data is loaded, and give the run's arguments.

    Raises:
        ValueError: A loss, method or parameter that doesn't exist, or values that cannot work together.
    """
    args = config.arguments()
    if args.preset != "auto":
        create_loss(config.loss, **config.loss_args)
    create_method(args.method, parse_json_object("method_args", args.method_args))
    return args


def load_data(config: RunConfig, given: Any = None) -> Any:
    """The dataset of a run, noise included; `given` is a dataset object in place of the config's name."""
    data = config.data
    return load_noisy_dataset(
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
        streaming=data.streaming,
        on_bad_image=data.on_bad_image,
        unlabelled=data.unlabelled,
        seed=config.seed,
    )


def build_model(config: RunConfig, data: Any) -> Any:
    """The network of a run, for the classes and images of its data."""
    asked = config.data
    return create_model(
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
    set_seed(args.seed)
    model = build_model(config, data) if model is None else model
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


def known_noise(data: Any) -> Any:
    """What the data says of its noise, for preset 'auto': a transition matrix, or None."""
    report = getattr(data, "noise_report", None)
    return getattr(report, "transition_matrix", None) or getattr(report, "realised_matrix", None)


def image_dataset(config: RunConfig, data: Any, split: str, model: Any) -> Any:
    """One split of a run's data as a torch dataset of ready batches, as it is evaluated."""
    images = RawImages(
        model, config.data.augment, config.seed, data.label_column, data.image_column,
        on_bad_image=config.data.on_bad_image,
    )  # fmt: skip
    return images.ready(data[split], train=False)
