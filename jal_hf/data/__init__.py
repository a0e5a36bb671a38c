"""Loading, checking, decoding and augmenting images; names load on first use, so flags cost no import."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
