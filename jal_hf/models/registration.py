"""Put our networks into the registries of timm and transformers as soon as these are there, without importing them."""

from __future__ import annotations

import importlib
import sys
import threading
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast

_AFTER = {
    "timm.models": "jal_hf.models.networks",
    "transformers.models.auto.configuration_auto": "jal_hf.models.mean_pooled_config",
    "transformers.models.auto.modeling_auto": "jal_hf.models.mean_pooled",
}
"""What is imported right after each of these, and registers itself there."""


class _LoadThenRegister:
    """Stands in for a module's own loader until the module runs, then leaves no trace on it.

    It answers every question as that loader does; before the module's code starts, the loader itself is put back
    into `__spec__` and `__loader__`, so that resources, reloads and pickles never meet this class.
    """

    def __init__(self, loader: Loader, finder: _Finder) -> None:
        self._loader, self._finder = loader, finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        try:
            importlib.import_module(_AFTER[module.__name__])
        except ImportError as error:
            # whoever imports timm or transformers need not care for us
            library = module.__name__.partition(".")[0]
            warnings.warn(
                f"The networks of jal_hf are not registered in {library}: {error}. Install "
                "timm>=1.0.20 and transformers>=5.10.1.",
                stacklevel=2,
            )


class _Finder(MetaPathFinder):
    """Answers for one module by asking every other finder; steps aside once it has been imported."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._asking = threading.local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        # another such finder may ask this one in turn
        if fullname != self.name or getattr(self._asking, "others", False):
            return None
        self._asking.others = True
        try:
            specs = (
                finder.find_spec(fullname, path, target)
                for finder in list(sys.meta_path)
                if finder is not self and hasattr(finder, "find_spec")
            )
            spec = next((spec for spec in specs if spec is not None), None)
        finally:
            self._asking.others = False
        if spec is not None and spec.loader is not None:
            spec.loader = cast(Loader, _LoadThenRegister(spec.loader, self))
        return spec


def register_networks() -> None:
    """Register our networks, now where timm or transformers is loaded, else right after it is.

    A checkpoint of one of our networks then loads through transformers and timm after `import jal_hf`, and
    `import jal_hf` itself still loads neither. Calling it twice changes nothing.
    """
    for name, ours in _AFTER.items():
        if name in sys.modules:
            importlib.import_module(ours)
        elif not any(isinstance(finder, _Finder) and finder.name == name for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder(name))
