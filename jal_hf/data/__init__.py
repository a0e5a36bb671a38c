"""Loading, checking, decoding and augmenting images; names load on first use, so flags cost no import."""

from __future__ import annotations

from jal_hf._lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "AUGMENTS": ".arguments",
        "DataArguments": ".arguments",
        "load_noisy_dataset": ".loading",
        "NoisyDatasetDict": ".dataset_facts",
        "NoisyIterableDatasetDict": ".dataset_facts",
        "make_image_dataset": ".images.image_dataset",
        "prepare_dataset": ".raw_datasets",
        "find_duplicates": ".duplicates",
        "file_names": ".images.encoded",
        "check_num_classes": ".labels",
        "collate_images": ".images.batches",
        "cache_folder": ".cache",
        "UnreadableImageError": "jal_hf.image_files",
    },
)
