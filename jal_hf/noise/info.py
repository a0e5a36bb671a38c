"""The record of one kind of noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jal_hf.noise.base import LabelNoise
from jal_hf.noise.spec import NoiseSpec

ClassNames = Sequence[str] | None


@dataclass(frozen=True)
class NoiseInfo:
    """One kind of noise.

    Attributes:
        kind: Name in the spec.
        argument: What stands after the colon, as shown to a reader; empty for none.
        summary: One line.
        options: Keys the spec may carry.
        needs_classes: Whether the number of classes must be known beforehand.
        cls: The class of the noise, which says whether it looks at the images and which family it is of.
        build: Makes the noise from a checked spec, the number of classes (-1 when unknown) and their names.
    """

    kind: str
    argument: str
    summary: str
    options: tuple[str, ...]
    needs_classes: bool
    cls: type[LabelNoise]
    build: Callable[[NoiseSpec, int, ClassNames], LabelNoise]
