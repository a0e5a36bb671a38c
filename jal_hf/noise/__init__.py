"""Label noise: models of wrong labels, their spec strings, and the map over a dataset.

A draw is a pure function of (seed, index, clean label), the same for any batch size, sharding or row order; with
`mode=exact`, which meets its counts over the rows given, of those of all these rows.
"""

from __future__ import annotations

from jal_hf.noise.base import LabelNoise
from jal_hf.noise.dataset import add_label_noise
from jal_hf.noise.info import NoiseInfo
from jal_hf.noise.registry import (
    create_noise,
    list_noises,
    noise_family,
    noise_info,
    parse_noise_spec,
    register_noise,
)
from jal_hf.noise.report import NoiseReport, labels_sha256, noise_report
from jal_hf.noise.spec import NoiseSpec

__all__ = [
    "LabelNoise",
    "NoiseInfo",
    "NoiseReport",
    "NoiseSpec",
    "add_label_noise",
    "create_noise",
    "labels_sha256",
    "list_noises",
    "noise_family",
    "noise_info",
    "noise_report",
    "parse_noise_spec",
    "register_noise",
]
