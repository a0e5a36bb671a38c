"""Mixup and CutMix: each image with a share of another one, on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.special import betaincinv
from torch import Tensor

from jal_hf.data.draws import keyed_uniforms
from jal_hf.losses import RobustLoss
from jal_hf.training.methods.batch import Batch, RowKeys
from jal_hf.training.methods.demands import require_one_label_a_row, require_soft_targets, require_within
from jal_hf.training.methods.method import Draws, Method
from jal_hf.training.methods.step_view import StepView

# Keeps these draws apart from those of the augmentation under the same seed.
_MIXING = 0x6D6978


@dataclass(frozen=True)
class Mixing:
    """With whom each row of a batch is mixed, `partner` (N,), and how much of its own stays, `share` (N,)."""

    partner: Tensor
    share: Tensor

    def of(self, values: Tensor) -> Tensor:
        """Rows of any shape (N, ...), mixed."""
        share = self.share.to(values.dtype).reshape((-1,) + (1,) * (values.dim() - 1))
        return values[self.partner].lerp(values, share)


class Mixup(Method):
    """Train on x = s x_i + (1 - s) x_j with the labels mixed alike, s from Beta(alpha, alpha).

    Rows 2k and 2k + 1 of a batch are partners: in a shuffled order that is chance, and it stays the same however an
    even batch is split over accumulation steps and processes. Each row draws its own share by (seed, step, row).
    A row without a counted label is not mixed, nor is the last of an odd batch.

    Args:
        alpha: Of the Beta distribution; 1 is uniform, less leaves most images nearly whole.

    Reference:
        Zhang et al. (2018), "mixup: Beyond Empirical Risk Minimization".
    """

    name = "mixup"
    capturable = True  # type: ignore[assignment]

    def __init__(self, *, alpha: float = 1.0) -> None:
        self.alpha = require_within(self.name, "alpha", alpha, 1e-3, 1e3)

    def check(self, criterion: RobustLoss, *, is_stream: bool) -> None:
        require_soft_targets(self.name, criterion)

    def draws(self, rows: RowKeys, *, step: int) -> dict[str, Draws]:
        """Each row's share, then the centre of its rectangle: (N, 3)."""
        draws = keyed_uniforms(rows, self.setting.seed + _MIXING, step, 3)
        draws[:, 0] = betaincinv(self.alpha, self.alpha, draws[:, 0])
        return {self.name: draws}

    def change_batch(self, batch: Batch, *, step: int, epoch: float) -> Batch:
        pixels = batch.get("pixel_values")
        if pixels is None:
            raise ValueError(
                f"Method {self.name!r} mixes images, and the batch has no 'pixel_values', only: {', '.join(batch)}."
            )
        draws = self.drawn(batch, step=step)
        labels, place = batch["labels"], torch.arange(len(pixels), device=pixels.device)
        partner = torch.where(place ^ 1 < len(place), place ^ 1, place)
        is_mixed = partner != place
        if not labels.is_floating_point() and labels.dim() == 1:
            is_counted = labels != self.setting.criterion.ignore_index
            is_mixed &= is_counted & is_counted[partner]
        partner = torch.where(is_mixed, partner, place)
        mixed, share = self.mixed(pixels, partner, draws[:, 0], draws[:, 1:])
        return {**batch, "pixel_values": mixed, "mixing": Mixing(partner, share)}

    def mixed(self, pixels: Tensor, partner: Tensor, share: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
        """(mixed pixels (N, C, H, W), the share of each image that is its own (N,))."""
        return Mixing(partner, share).of(pixels), share

    def targets(self, view: StepView) -> Tensor:
        require_one_label_a_row(self.name, view)
        mixing: Mixing = view.batch["mixing"]
        return mixing.of(view.label_probabilities())


class Cutmix(Mixup):
    """Train on images with a rectangle of another one in them, the labels mixed by area.

    The rectangle has the image's proportions, the area 1 - s with s from Beta(alpha, alpha), and is cut at the
    border; partners and draws are those of `mixup`.

    Args:
        alpha: Of the Beta distribution.

    Reference:
        Yun et al. (2019), "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features".
    """

    name = "cutmix"

    def mixed(self, pixels: Tensor, partner: Tensor, share: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
        inside = []
        for axis, size in enumerate(pixels.shape[2:4]):
            half = (1 - share).sqrt() * size / 2
            places = torch.arange(size, device=pixels.device)
            middle = centre[:, axis] * size
            inside.append(
                (places >= (middle - half).round()[:, None]) & (places < (middle + half).round()[:, None])
            )
        cut = inside[0][:, :, None] & inside[1][:, None, :]
        own = 1 - cut.double().mean(dim=(1, 2))
        return torch.where(cut[:, None], pixels[partner], pixels), own
