"""Put our networks into timm's registry as soon as timm is there, without importing timm first."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

_TIMM = "timm.models"
_NETWORKS = "jal_hf.models.networks"


class _LoadThenRegister(Loader):
    """timm's own loader; once it is done, our networks are imported."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        importlib.import_module(_NETWORKS)


class _TimmFinder(MetaPathFinder):
    """Answers for `timm.models` once, by asking every other finder, then steps aside."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _TIMM:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _LoadThenRegister(spec.loader)
        return spec


def register_networks() -> None:
    """Register our networks in timm, now when timm is loaded, else right after it is.

    A checkpoint of one of our networks then loads through transformers and timm after `import jal_hf`, and
    `import jal_hf` itself still loads neither. Calling it twice changes nothing.
    """
    if _TIMM in sys.modules:
        importlib.import_module(_NETWORKS)
    elif not any(isinstance(finder, _TimmFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TimmFinder())
