"""Runs: config, recipes, the run itself, and all that reads a run: grids, audits, searches.

Names load on first use.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
