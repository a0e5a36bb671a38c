"""Robust losses for noisy labels: equations, registry, presets.

>>> from jal_hf.losses import create_loss
>>> create_loss("jal-ce", preset="cifar10").config()["a"]
30.0
"""

from __future__ import annotations

from jal_hf.losses.absolute_error import MeanAbsoluteErrorLoss, ReverseCrossEntropyLoss
from jal_hf.losses.asymmetric import (
    AsymmetricExponentialLoss,
    AsymmetricGeneralizedCrossEntropyLoss,
    AsymmetricUnhingedLoss,
)
from jal_hf.losses.base import RobustLoss
from jal_hf.losses.cross_entropy import CrossEntropyLoss, NormalizedCrossEntropyLoss
from jal_hf.losses.epsilon_softmax import EpsilonCrossEntropyLoss, EpsilonFocalLoss
from jal_hf.losses.factory import create_loss, resolve_loss
from jal_hf.losses.focal import FocalLoss, NormalizedFocalLoss
from jal_hf.losses.generalized import GeneralizedCrossEntropyLoss, NormalizedGeneralizedCrossEntropyLoss
from jal_hf.losses.joint import JointLoss
from jal_hf.losses.logit_shape import ClippedCrossEntropyLoss, LabelDistributionallyRobustLoss
from jal_hf.losses.negative import NormalizedNegativeCrossEntropyLoss, NormalizedNegativeFocalLoss
from jal_hf.losses.negative_learning import NegativeLearningLoss
from jal_hf.losses.normalized import Normalized
from jal_hf.losses.squared_error import AsymmetricMeanSquareErrorLoss, MeanSquareErrorLoss

from jal_hf.losses import pairs  # isort: skip - registers the pairs, once their parts are there
from jal_hf.losses.presets import LossPreset, default_parameters, loss_preset
from jal_hf.losses.registry import LossInfo, all_infos, list_losses, loss_info, register_loss
from jal_hf.losses.table import loss_rows, markdown_table

__all__ = [
    "AsymmetricExponentialLoss",
    "AsymmetricGeneralizedCrossEntropyLoss",
    "AsymmetricMeanSquareErrorLoss",
    "AsymmetricUnhingedLoss",
    "ClippedCrossEntropyLoss",
    "CrossEntropyLoss",
    "EpsilonCrossEntropyLoss",
    "EpsilonFocalLoss",
    "FocalLoss",
    "GeneralizedCrossEntropyLoss",
    "JointLoss",
    "LabelDistributionallyRobustLoss",
    "LossInfo",
    "LossPreset",
    "MeanAbsoluteErrorLoss",
    "MeanSquareErrorLoss",
    "NegativeLearningLoss",
    "Normalized",
    "NormalizedCrossEntropyLoss",
    "NormalizedFocalLoss",
    "NormalizedGeneralizedCrossEntropyLoss",
    "NormalizedNegativeCrossEntropyLoss",
    "NormalizedNegativeFocalLoss",
    "ReverseCrossEntropyLoss",
    "RobustLoss",
    "all_infos",
    "create_loss",
    "default_parameters",
    "list_losses",
    "loss_info",
    "loss_preset",
    "loss_rows",
    "markdown_table",
    "pairs",
    "register_loss",
    "resolve_loss",
]
