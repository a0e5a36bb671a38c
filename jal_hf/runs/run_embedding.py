"""The t-SNE picture of a finished run's test images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jal_hf.analysis.embedding import embedding_figure, extract_features, tsne
from jal_hf.analysis.style import save_figure
from jal_hf.ground.record import RunRecord
from jal_hf.runs.audit.run_data import load_run_data
from jal_hf.runs.repeat import config_of_run, refuse_strange_sources


def plot_run_embedding(
    run: str | Path, rows: int = 2000, seed: int = 0, *, trust: bool = False
) -> list[Path]:
    """Write `RUN/plots/tsne.png` and `.svg`: features of at most `rows` test images, drawn by `seed`."""
    folder = Path(run)
    record = RunRecord.read(folder)
    config = config_of_run(folder, record, trust=trust)
    refuse_strange_sources(folder, config, trust=trust, with_model=False)
    loaded = load_run_data(folder, record, config, split="test")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(loaded.given))[:rows])
    features = extract_features(loaded.model, loaded.images, chosen.tolist(), len(loaded.class_names))
    points = tsne(features, seed)
    figure = embedding_figure(
        points, loaded.given[chosen], loaded.class_names, f"{record.title}: test images"
    )
    return save_figure(figure, folder / "plots" / "tsne")
