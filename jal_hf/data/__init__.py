"""Loading, checking, decoding and augmenting images; names load on first use, so flags cost no import."""

from __future__ import annotations

from jal_hf._lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "AUGMENTS": ".arguments",
        "DataArguments": ".arguments",
        "load_noisy_dataset": ".load",
        "NoisyDatasetDict": ".containers",
        "NoisyIterableDatasetDict": ".containers",
        "make_image_dataset": ".pipeline",
        "prepare_dataset": ".raw_datasets",
        "check_num_classes": ".labels",
        "collate_images": ".collate",
        "cache_folder": ".paths",
        "UnreadableImageError": "jal_hf.image_files",
    },
)
