"""See and decide: plots, tables, label issues and advice on losses, from records and arrays.

Names load on first use, so that a plot does not wait for transformers or cleanlab.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
