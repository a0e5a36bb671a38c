"""Networks of the papers, registered in timm, and `create_model`, which wraps any timm network for
transformers.

Names are loaded on first use: registering the networks needs timm alone, building one needs transformers too.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
