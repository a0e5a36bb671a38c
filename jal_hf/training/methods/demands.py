"""What methods demand of their parameters and of the training, said in sentences."""

from __future__ import annotations

import torch

from jal_hf.losses import RobustLoss
from jal_hf.training.methods.step_view import StepView


def require_within(method: str, name: str, value: object, low: float, high: float) -> float:
    """A number in [low, high].

    Raises:
        ValueError: Anything else.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:  # type: ignore[operator]
        bound = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
        raise ValueError(f"Method {method!r}: {name} must be a number {bound}, got {value!r}.")
    return float(value)  # type: ignore[arg-type]


def optional_within(method: str, name: str, value: object, low: float, high: float) -> float | None:
    """A number in [low, high], or None.

    Raises:
        ValueError: Anything else.
    """
    return None if value is None else require_within(method, name, value, low, high)


def require_choice(method: str, name: str, value: object, choices: tuple[str, ...]) -> str:
    """One of some words.

    Raises:
        ValueError: Anything else.
    """
    if value not in choices:
        raise ValueError(f"Method {method!r}: {name} must be one of {', '.join(choices)}, got {value!r}.")
    return str(value)


def require_rows(method: str, is_stream: bool, instead: str) -> None:
    """A training set with fixed rows.

    Raises:
        ValueError: A stream.
    """
    if is_stream:
        raise ValueError(
            f"Method {method!r} keeps something for each row of the training set, and a stream has no fixed rows. "
            f"{instead}"
        )


def require_soft_targets(method: str, criterion: RobustLoss) -> None:
    """Try class probabilities on the loss.

    Raises:
        ValueError: A loss that takes none.
    """
    place = criterion.weight.device if criterion.weight is not None else "cpu"
    classes = 2 if criterion.weight is None else len(criterion.weight)
    try:
        with torch.random.fork_rng(devices=[]):
            criterion(
                torch.zeros(2, classes, device=place), torch.full((2, classes), 1 / classes, device=place)
            )
    except ValueError as error:
        raise ValueError(f"Method {method!r} gives the loss class probabilities. {error}") from error


def require_one_label_a_row(method: str, view: StepView) -> None:
    """Refuse maps and token labels.

    Raises:
        ValueError: Logits of more than two dimensions.
    """
    if view.logits.dim() != 2:
        raise ValueError(
            f"Method {method!r} works on one label a row, (N, K) logits; these are {tuple(view.logits.shape)}."
        )
