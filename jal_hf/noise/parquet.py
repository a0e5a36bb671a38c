"""Writing a split as Parquet files in the Hub's layout, images embedded, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from datasets.table import embed_table_storage

SHARD_BYTES = 500_000_000
_ROWS = 1000


def write_split(
    dataset: Dataset,
    folder: Path,
    split: str,
    *,
    shard_bytes: int = SHARD_BYTES,
    on_rows: Callable[[int], object] | None = None,
) -> list[Path]:
    """Write `folder/SPLIT-0000I-of-0000N.parquet`, a new file once one has reached `shard_bytes`.

    Args:
        dataset: Rows to write, in order; features are kept in the files' metadata.
        folder: An existing folder.
        split: Name of the split.
        shard_bytes: Size in bytes at which a file is closed.
        on_rows: Called with the number of rows after each block, for a progress bar.

    Returns:
        The files, in order.
    """
    blocks = _blocks(dataset)
    parts: list[Path] = []
    block = next(blocks, None)
    while block is not None or not parts:
        part = folder / f"{split}-{len(parts):05d}.parquet.part"
        parts.append(part)
        with pq.ParquetWriter(part, dataset.features.arrow_schema) as writer:
            while block is not None:
                writer.write_table(block)
                if on_rows is not None:
                    on_rows(block.num_rows)
                block = next(blocks, None)
                if part.stat().st_size >= shard_bytes:
                    break
    files = []
    for number, part in enumerate(parts):
        files.append(part.rename(folder / f"{split}-{number:05d}-of-{len(parts):05d}.parquet"))
    return files


def _blocks(dataset: Dataset) -> Iterator[pa.Table]:
    schema = dataset.features.arrow_schema
    for table in dataset.with_format("arrow").iter(batch_size=_ROWS):
        yield embed_table_storage(table.replace_schema_metadata(schema.metadata)).cast(schema)
