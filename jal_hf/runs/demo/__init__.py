"""A page to try a run in the browser: `jal-hf demo RUN`, and the same page as a Space on the Hub.

Names load on first use.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
