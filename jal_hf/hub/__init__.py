"""Sharing on the Hub: cards of models and noisy datasets, and pushes that carry them.

Names are loaded on first use, so that one command does not pay for another's imports.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
