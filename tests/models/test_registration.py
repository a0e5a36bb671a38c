"""Our networks wait for timm and transformers without leaving a trace in Python's import machinery."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import timm

from jal_hf.models import create_model, is_own_network


def run(source: str, *paths: Path) -> str:
    """Standard output of a fresh Python, `paths` first among those it imports from."""
    head = f"import sys\nsys.path[:0] = {[str(path) for path in paths]!r}\n"
    result = subprocess.run([sys.executable, "-c", head + source], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


# What a module's user can see of how it was imported.
LOOK = """
import importlib, importlib.resources, importlib.util, inspect, pickle, pkgutil
def look(name):
    module = importlib.import_module(name)
    spec = module.__spec__
    print(type(spec.loader), type(module.__loader__), spec.loader is module.__loader__, spec.loader.path)
    print(sorted(entry.name for entry in importlib.resources.files(name).iterdir())[:5])
    print(spec.loader.is_package(name), len(spec.loader.get_data(module.__file__)), len(inspect.getsource(module)))
    print(sorted(entry.name for entry in pkgutil.iter_modules(module.__path__))[:5])
    print(len(pkgutil.get_data(name, "__init__.py")), importlib.util.find_spec(name) is spec)
    copy = pickle.loads(pickle.dumps(spec))
    print(copy.name, copy.origin, type(copy.loader), copy.submodule_search_locations)
    shown = [finder for finder in sys.meta_path if getattr(finder, 'name', name) == name]  # not those of others
    print([getattr(finder, '__name__', type(finder).__name__) for finder in shown])
    print(importlib.reload(module) is module, module.__spec__.loader.path)
"""


def test_timm_looks_as_if_we_were_not_there() -> None:
    without = run(LOOK + "look('timm.models')")
    ours = run("import jal_hf\n" + LOOK + "look('timm.models')")
    assert ours == without


def test_transformers_looks_as_if_we_were_not_there() -> None:
    source = """
import transformers.models.auto.modeling_auto as models, transformers.models.auto.configuration_auto as configs
for module in (models, configs):
    print(type(module.__spec__.loader).__name__, module.__loader__ is module.__spec__.loader)
print([finder.name for finder in sys.meta_path if type(finder).__name__ == '_Finder'])
"""
    expected = "SourceFileLoader True\nSourceFileLoader True\n{}\n"
    assert run(source) == expected.format([])
    assert run("import jal_hf\n" + source) == expected.format(["timm.models"])


def test_reload_of_timm_keeps_our_networks() -> None:
    source = "import jal_hf, importlib, timm.models, timm; importlib.reload(timm.models)"
    assert run(f"{source}; print(timm.is_model('jal_cnn8'))") == "True\n"


def test_spec_that_is_only_looked_at_answers_as_the_original_does() -> None:
    source = """
import types, importlib.machinery
{}
sys.modules["timm"] = types.ModuleType("timm")
import importlib.util
sys.modules["timm"].__path__ = [PATH]
for turn in range(2):
    spec = importlib.util.find_spec("timm.models")
    loader = spec.loader
    print(loader.name, loader.path, loader.is_package("timm.models"), loader.get_filename("timm.models"))
    print(len(loader.get_data(loader.path)), len(loader.get_source("timm.models")), spec.cached, spec.has_location)
    print(type(loader.get_resource_reader("timm.models")), hasattr(loader, "no_such_thing"))
""".replace("PATH", repr(str(Path(timm.__file__).parent)))
    assert run(source.format("import jal_hf")) == run(source.format(""))


def a_timm(folder: Path, body: str) -> Path:
    """A small stand-in for timm."""
    for name, text in (("__init__", "from . import models\n"), ("models/__init__", body)):
        path = folder / "timm" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "timm" / "models" / "data.txt").write_text("kept")
    return folder


# Stands for our networks, so that the stand-in needs no torch.
STUB = "import types; sys.modules['jal_hf.models.networks'] = types.ModuleType('networks')\n"


def test_timm_inside_a_zip_is_imported(tmp_path: Path) -> None:
    a_timm(tmp_path / "source", "from . import extra\n")
    (tmp_path / "source/timm/models/extra.py").write_text("there = True\n")
    with zipfile.ZipFile(tmp_path / "timm.zip", "w") as archive:
        for path in sorted((tmp_path / "source").rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path / "source"))
    shown = run(
        f"import jal_hf\n{STUB}import importlib.resources, timm.models\n"
        "print(type(timm.models.__spec__.loader).__name__, timm.models.__loader__ is timm.models.__spec__.loader)\n"
        "print((importlib.resources.files('timm.models') / 'data.txt').read_text(), timm.models.extra.there)",
        tmp_path / "timm.zip",
    )
    assert shown == "zipimporter True\nkept True\n"


def test_networks_are_registered_when_a_second_import_succeeds(tmp_path: Path) -> None:
    a_timm(tmp_path, "import os\nif 'BROKEN' in os.environ: raise ImportError('no torch')\n")
    shown = run(
        "import jal_hf, os\n"
        "os.environ['BROKEN'] = '1'\n"
        "before = len(sys.meta_path)\n"
        "try:\n    import timm\nexcept ImportError as error:\n    print(error)\n"
        "del os.environ['BROKEN']\n"
        "print(len(sys.meta_path) == before)\n"
        f"{STUB}del sys.modules['jal_hf.models.networks']\n"
        "import jal_hf.models; import jal_hf.models.registration as r\n"
        "r.importlib = types.SimpleNamespace(import_module=lambda name: print('registered', name))\n"
        "import timm\nprint(len(sys.meta_path) == before - 1)",
        tmp_path,
    )
    assert shown == "no torch\nTrue\nregistered jal_hf.models.networks\nTrue\n"


def test_timm_is_imported_though_our_networks_do_not_suit_it(tmp_path: Path) -> None:
    a_timm(tmp_path, "")
    shown = run(
        "import jal_hf, warnings\nwith warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n    import timm.models\n"
        "print(*[entry.message for entry in caught])",
        tmp_path,
    )
    assert "networks of jal_hf are not registered in timm" in shown


@pytest.mark.parametrize("place", ["0", "1"])
def test_two_finders_that_ask_each_other_end(tmp_path: Path, place: str) -> None:
    a_timm(tmp_path, "")
    shown = run(
        f"import jal_hf\n{STUB}"
        "class Other:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name != 'timm.models':\n            return None\n"
        "        specs = (f.find_spec(name, path, target) for f in sys.meta_path if f is not self)\n"
        "        return next((spec for spec in specs if spec is not None), None)\n"
        f"sys.meta_path.insert({place}, Other())\n"
        "import timm.models\nprint(timm.models.__name__)",
        tmp_path,
    )
    assert shown == "timm.models\n"


def test_importing_jal_hf_twice_adds_one_finder() -> None:
    source = "import jal_hf; first = len(sys.meta_path); jal_hf.register_networks()"
    assert run(f"{source}; print(len(sys.meta_path) - first)") == "0\n"


def test_checkpoint_of_our_network_loads_after_import_jal_hf_alone(tmp_path: Path) -> None:
    create_model("jal_digits_cnn", num_labels=3).save_pretrained(tmp_path)
    for import_first in ("import jal_hf", "import timm, transformers, jal_hf"):
        shown = run(
            f"{import_first}\nfrom transformers import AutoModelForImageClassification\nimport timm\n"
            f"print(AutoModelForImageClassification.from_pretrained({str(tmp_path)!r}).config.architecture)\n"
            f"print(type(timm.create_model('local-dir:{tmp_path}', pretrained=True)).__name__)"
        )
        assert shown == "jal_digits_cnn\nPlainCNN\n"


@pytest.mark.parametrize("name", timm.list_models("jal_*"))
def test_network_says_that_it_is_ours(name: str) -> None:
    assert is_own_network(name)
    assert is_own_network(f"{name}.untrained")


def test_other_networks_are_not_ours() -> None:
    assert not any(is_own_network(name) for name in ("resnet18", "jal_unknown", "hf-hub:jal_cnn8", ""))
