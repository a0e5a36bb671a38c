"""What `jal-hf noise` and `jal-hf benchmark` do alike: clean rows, one draw of noise on them, and their source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jal_hf.ground.files import JsonObject
from jal_hf.hub.noisy_dataset import NoisySource
from jal_hf.noise import LabelNoise, NoiseReport, add_label_noise, noise_report
from jal_hf.noise.columns import label_vector


def draw_labels(
    data: Any, noise: LabelNoise, seed: int, *, image_size: int | None = None, num_proc: int | None = None
) -> tuple[Any, NoiseReport]:
    """The training rows of clean data with noise on them, and the report.

    Args:
        data: From `load_noisy_dataset`, without noise.
        noise: What to draw.
        seed: Names the draw; `jal-hf train --noise_seed` of the same number draws the same labels.
        image_size: Side in pixels for noise that looks at images of several sizes.
        num_proc: Images decoded at once for such noise.

    Raises:
        ValueError: The noise does not fit the rows.
    """
    clean = label_vector(data["train"], data.label_column)
    noise.check_rows(len(clean))
    rows = add_label_noise(
        data["train"],
        noise,
        data.label_column,
        seed,
        "index",
        image_column=data.image_column,
        image_size=image_size,
        num_proc=num_proc,
    )
    return rows, noise_report(clean, label_vector(rows, data.label_column), noise, seed)


def dataset_source(dataset: str, data: Any, config: str | None = None) -> NoisySource:
    """Name and card of the dataset that clean data came from; a local path shows its last part only."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    path = Path(dataset).expanduser()
    on_hub = not path.exists() and dataset.count("/") == 1
    card: Path | None = path / "README.md"
    if on_hub:
        try:
            card = Path(hf_hub_download(dataset, "README.md", repo_type="dataset"))
        except (HfHubHTTPError, LocalEntryNotFoundError):
            card = None
    return NoisySource(
        name=dataset if on_hub or not path.exists() else path.resolve().name,
        on_hub=on_hub,
        fingerprint=data.fingerprint,
        config=config,
        metadata=_front_matter(card) if card is not None and card.is_file() else {},
    )


def _front_matter(card: Path) -> JsonObject:
    """Metadata block of a card; empty when there is none that can be read."""
    import yaml
    from huggingface_hub import DatasetCard

    try:
        return dict(DatasetCard.load(card, ignore_metadata_errors=True).data.to_dict())
    except (ValueError, yaml.YAMLError):
        return {}
