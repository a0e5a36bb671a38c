"""Two views of each row: the loss on the weak one, and the strong one told what the weak one shows."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from jal_hf.data.draws import keyed_uniforms
from jal_hf.data.transfer import to_device
from jal_hf.losses import RobustLoss
from jal_hf.losses.inputs import in_full_precision
from jal_hf.training.methods.batch import Batch, RowKeys, row_keys
from jal_hf.training.methods.demands import optional_within, require_choice, require_within
from jal_hf.training.methods.marginal import PRIORS, ClassMarginal
from jal_hf.training.methods.method import Draws, Method, Parameters
from jal_hf.training.methods.pull import strongest_pull
from jal_hf.training.methods.step_view import Setting, StepView
from jal_hf.training.methods.strong_view import UNIFORMS, Colours, strong_draws, strong_view

# Keeps these draws apart from those of the augmentation under the same seed.
_TWIN = 0x7477696E
_LEAST = 1e-4
# Numbers in an image up to which its strong view is made as in a captured step, bit for bit.
_SMALL = 3 * 64 * 64


class Twin(Method):
    """Add c KL(q_i || p(strong view of i)) + b balance to each row's loss on the batch as it is, the weak view.

    q_i is the weak view's prediction without gradient, divided by the running mean prediction pi and normalised.
    The balance term is -sum_c prior_c log pi_c, of which a row adds its share of the tangent at pi, so that it does
    not depend on how a batch is split. Both views go through the network in one pass.

    The strong view of an image is drawn on the device: two operations of RandAugment's kind and a square cut out.
    Of tokens it has a share of them hidden from attention; of anything else it is the same input under another draw
    of dropout.

    Args:
        consistency: c. None follows the loss: the strongest pull by which it draws a row to its label, at most 1
            (`jal-ce`: 1 with the CIFAR-10 preset, 0.08 with that of MNIST, which 1 would drown).
        balance: b. None is a tenth of what None gives c.
        momentum: Of pi, a step's share being 1 - momentum.
        ramp: Share of the training over which c rises from 0.
        prior: Which mean prediction is wanted: `uniform`, or as the given `labels` are distributed.
        cut: Side of the cut square as a share of the image's; 0 for none.
        hidden: Share of the tokens that the strong view doesn't see; the first one always is seen.

    Reference:
        Liu et al. (2022), "Robust Training under Label Noise by Over-parameterization" (SOP+): consistency and
        balance; DSS (CVPR 2026): division by pi.
    """

    name = "twin"
    capturable = True  # type: ignore[assignment]

    def __init__(
        self,
        *,
        consistency: float | None = None,
        balance: float | None = None,
        momentum: float = 0.99,
        ramp: float = 0.1,
        prior: str = "uniform",
        cut: float = 0.5,
        hidden: float = 0.15,
    ) -> None:
        self.consistency = optional_within(self.name, "consistency", consistency, 0.0, 1e3)
        self.balance = optional_within(self.name, "balance", balance, 0.0, 1e3)
        self.weights: tuple[float, float] | None = None
        """c and b of the training that has begun."""
        self.momentum = require_within(self.name, "momentum", momentum, 0.0, 1.0)
        self.ramp = require_within(self.name, "ramp", ramp, 0.0, 1.0)
        self.prior = require_choice(self.name, "prior", prior, PRIORS)
        self.cut = require_within(self.name, "cut", cut, 0.0, 1.0)
        self.hidden = require_within(self.name, "hidden", hidden, 0.0, 0.9)

    def begin(self, setting: Setting) -> None:
        super().begin(setting)
        self.marginal = ClassMarginal(setting, self.momentum, self.prior)
        self._colours = colours_of(setting)
        self.weights = None
        if setting.num_classes is not None:
            self._follow_loss(setting.num_classes)

    def _follow_loss(self, classes: int) -> tuple[float, float]:
        """c and b, decided once K is known."""
        if self.weights is None:
            consistency, balance = self.consistency, self.balance
            if consistency is None or balance is None:
                own = consistency_for(self.setting.criterion, classes)
                consistency = own if consistency is None else consistency
                balance = own / 10 if balance is None else balance
            self.weights = consistency, balance
        return self.weights

    def parameters(self) -> Parameters:
        consistency, balance = self.weights or (self.consistency, self.balance)
        return {**super().parameters(), "consistency": consistency, "balance": balance}

    def draws(self, rows: RowKeys, *, step: int) -> dict[str, Draws]:
        """Of images."""
        uniforms = keyed_uniforms(rows, self.setting.seed + _TWIN, step, UNIFORMS)
        return {self.name: strong_draws(uniforms, with_colours=self._colours is not None)}

    def rates(self, progress: float) -> dict[str, float]:
        share = min(1.0, progress / self.ramp) if self.ramp else 1.0
        assert self.weights is not None
        return {"twin.consistency": self.weights[0] * share}

    def change_batch(self, batch: Batch, *, step: int, epoch: float) -> Batch:
        labels = batch["labels"]
        if "pixel_values" in batch and labels.dim() > 1 and not labels.is_floating_point():
            raise ValueError(
                f"Method 'twin' moves images about, and the labels are maps of shape {tuple(labels.shape)} that would "
                "stay behind. Train with another method."
            )
        rows = len(labels)
        doubled = {
            name: torch.cat([value, value]) if isinstance(value, Tensor) and len(value) == rows else value
            for name, value in batch.items()
        }
        if "pixel_values" in batch:
            pixels = batch["pixel_values"]
            apart = "draws" not in batch and pixels[0].numel() > _SMALL
            draws = self.drawn(batch, step=step)
            strong = strong_view(pixels, draws, self._colours, cut=self.cut, apart=apart)
            doubled["pixel_values"] = torch.cat([pixels, strong])
        elif "input_ids" in batch and self.hidden and self._takes_mask(batch):
            tokens = batch["input_ids"]
            uniforms = keyed_uniforms(row_keys(batch), self.setting.seed + _TWIN, step, tokens.shape[1])
            is_seen = to_device(torch.from_numpy(uniforms >= self.hidden), tokens.device)
            is_seen[:, 0] = True
            mask = batch.get("attention_mask", torch.ones_like(tokens))
            doubled["attention_mask"] = torch.cat([mask, mask * is_seen.to(mask.dtype)])
        return doubled

    def _takes_mask(self, batch: Batch) -> bool:
        """Whether tokens can be hidden: a network of one's own may take `input_ids` alone, and has its dropout."""
        parameters = inspect.signature(self.setting.model.forward).parameters.values()
        return "attention_mask" in batch or any(
            one.name == "attention_mask" or one.kind is one.VAR_KEYWORD for one in parameters
        )

    def after_forward(self, view: StepView) -> StepView:
        weak, strong = view.logits.chunk(2)

        def first(values: Tensor | None) -> Tensor | None:
            return None if values is None else values.chunk(2)[0]

        labels = view.labels.chunk(2)[0]
        return replace(
            view, logits=weak, second=strong, labels=labels, targets=labels, index=first(view.index),
            sample_weight=first(view.sample_weight),
        )  # fmt: skip

    def terms(self, view: StepView) -> Mapping[str, Tensor]:
        assert view.second is not None
        weak, weights = view.probabilities(), view.weights_of_terms()
        _, balance = self._follow_loss(weak.shape[1])
        wanted = self.marginal.debiased(weak.detach())
        strong = in_full_precision(view.second).log_softmax(dim=1)
        divergence = (torch.xlogy(wanted, wanted) - wanted * strong).sum(dim=1)
        pi, prior = self.marginal.both(weak)
        pi, shape = pi.clamp_min(_LEAST), (1, -1) + (1,) * (weak.dim() - 2)
        tangent = -(prior * pi.log()).sum() - ((weak / pi.reshape(shape) - 1) * prior.reshape(shape)).sum(
            dim=1
        )
        self.marginal.watch(weak, view)
        return {
            "consistency": self.rate(view, "consistency") * (divergence * weights).sum(),
            "balance": balance * (tangent * weights).sum(),
        }

    def after_step(self, model: nn.Module, *, step: int) -> None:
        self.marginal.flush()

    def state_dict(self) -> dict[str, Tensor]:
        return self.marginal.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.marginal.load_state_dict(state)
        self.refuse_others(state, "marginal", "steps")


def colours_of(setting: Setting) -> Colours | None:
    """How the network's images are normalised, where its settings say it."""
    known = getattr(getattr(setting.model, "config", None), "pretrained_cfg", None) or {}
    if not known.get("mean") or not known.get("std"):
        return None
    mean, std = (
        torch.tensor(list(known[name]), dtype=torch.float32, device=setting.device).view(1, -1, 1, 1)
        for name in ("mean", "std")
    )
    return Colours(mean, std)


def consistency_for(criterion: RobustLoss, classes: int) -> float:
    """The strongest pull by which the loss draws a row to its label, at most 1; three digits.

    The term itself pulls by up to about 1 on rows whose views differ, which are half-learned ones: there most losses
    are at their strongest, and where that is far below 1, views that agree on nothing win over labels.
    """
    return float(f"{min(strongest_pull(criterion, classes), 1.0):.3g}")
