"""Train classifiers that survive wrong labels.

Public names are loaded on first use, so that `import jal_hf` costs nothing and a user of the losses alone
never imports transformers.
"""

from __future__ import annotations

import lazy_loader

from jal_hf.models.registration import register_networks

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

# Waits for timm without loading it: a checkpoint of a network of the papers then loads after `import jal_hf`.
register_networks()
