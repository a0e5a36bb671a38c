"""Names of a package that load on first use, so that one part's user doesn't wait for another's imports."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def lazy_exports(
    package: str, exports: Mapping[str, str], also: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package whose public names live in other modules.

    Args:
        package: The package's `__name__`.
        exports: Public name to the module that holds it, absolute or relative with a leading dot.
        also: Public names that the package defines itself.

    Example:
        __getattr__, __dir__, __all__ = lazy_exports(__name__, {"create_model": ".create"})
    """

    def load(name: str) -> Any:
        if name not in exports:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(exports[name], package), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *exports})

    return load, names, [*also, *sorted(exports)]
