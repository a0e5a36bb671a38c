"""The parts of a run, from its settings: loss, data, image datasets, model and trainer."""

from __future__ import annotations

from typing import Any

from transformers import set_seed

from jal_hf.data import load_noisy_dataset, make_image_dataset
from jal_hf.losses import RobustLoss, resolve_loss
from jal_hf.models import create_model, default_in_chans
from jal_hf.training.settings import RunSettings
from jal_hf.training.trainer import JALTrainer


def create_criterion(settings: RunSettings) -> RobustLoss:
    """The loss of a run.

    Raises:
        ValueError: A loss or a parameter that doesn't exist, or a value outside its range.
    """
    args = settings.training
    # A named preset's values already stand in loss_args; only 'auto' is left for the loss to work out.
    preset = "auto" if args.preset == "auto" else None
    return resolve_loss(args.loss, preset=preset, params=args.loss_args)  # type: ignore[arg-type]


def load_data(settings: RunSettings) -> Any:
    """The dataset of a run, noise included."""
    data = settings.data
    return load_noisy_dataset(
        data.dataset,
        dataset_config=data.dataset_config,
        train_split=data.train_split,
        eval_split=data.eval_split,
        image_column=data.image_column,
        label_column=data.label_column,
        num_classes=data.num_classes,
        noise=data.noise,
        noise_seed=data.noise_seed,
        max_train_samples=data.max_train_samples,
        max_eval_samples=data.max_eval_samples,
        val_fraction=data.val_fraction,
        streaming=data.streaming,
        on_bad_image=data.on_bad_image,
        seed=settings.training.seed,
    )


def build_trainer(
    settings: RunSettings, data: Any, criterion: RobustLoss, **trainer_options: Any
) -> JALTrainer:
    """Model, image datasets and trainer of a run."""
    asked, args = settings.data, settings.training
    set_seed(args.seed)
    model = create_model(
        settings.model.model,
        num_labels=data.num_classes,
        class_names=data.class_names,
        image_size=asked.image_size,
        in_chans=default_in_chans(settings.model.model, len(asked.image_mean) if asked.image_mean else None),
        mean=asked.image_mean,
        std=asked.image_std,
        pretrained=settings.model.pretrained,
    )
    with args.main_process_first(desc="decoding the images"):
        train, test, validation = (
            image_dataset(settings, data, split, model, train=split == "train", device=args.device)
            for split in ("train", "test", "validation")
        )
    if on_accelerator(train):
        # Batches are made where they are used: there is nothing to pin, and no worker could reach them.
        args.dataloader_pin_memory, args.dataloader_num_workers = False, 0
    return JALTrainer(
        model=model,
        args=args,
        loss=criterion,
        train_dataset=train,
        eval_dataset=test,
        validation_dataset=validation,
        **trainer_options,
    )


def image_dataset(
    settings: RunSettings, data: Any, split: str, model: Any, *, train: bool, device: Any = "cpu"
) -> Any:
    """One split as a torch dataset of ready batches, or None where there is no such split."""
    if split not in data:
        return None
    preprocessing = model.config.pretrained_cfg
    channels, _, size = preprocessing["input_size"]
    return make_image_dataset(
        data[split],
        image_column=data.image_column,
        label_column=data.label_column,
        image_size=size,
        in_chans=channels,
        mean=preprocessing["mean"],
        std=preprocessing["std"],
        # Evaluation is not augmented, but takes the protocol's own crop (scaled to 256, middle 224).
        augment=settings.data.augment,
        train=train,
        seed=settings.training.seed,
        device=device,
        on_bad_image=settings.data.on_bad_image,
    )


def on_accelerator(dataset: Any) -> bool:
    """Whether a dataset's images lie on a GPU already."""
    images = getattr(dataset, "images", None)
    return images is not None and images.device.type != "cpu"
