"""Where a checkpoint lies: a folder, or a repository of the Hub, of which only JSON and safetensors are
fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from jal_hf.ground.files import JsonObject, read_object

_PREFIXES = ("hf-hub:", "hf_hub:", "local-dir:", "transformers:")
_WEIGHTS = "model.safetensors"
_MOST_CLASSES, _LARGEST_SIDE = 10_000_000, 4096
_SIDES = ("image_size", "size", "crop_size", "resize_size")
_STATISTICS = ("mean", "std")
# No pickle is ever fetched, so none can be read.
_FETCHED = ["config.json", "preprocessor_config.json", "model*.safetensors", "model.safetensors.index.json"]


@dataclass(frozen=True)
class Checkpoint:
    """A folder with config.json and safetensors, the parsed config, and where it came from: `hub` or `folder`."""

    folder: Path
    config: JsonObject
    kind: str
    name: str

    @property
    def is_timm(self) -> bool:
        """Whether timm's format, and not that of another transformers model, lies here."""
        return "pretrained_cfg" in self.config and bool(self.config.get("architecture"))

    @property
    def timm_name(self) -> str:
        """The name under which `timm.create_model` loads it."""
        return f"local-dir:{self.folder}"

    @property
    def pretrained_cfg(self) -> JsonObject:
        """How its images are prepared."""
        cfg: JsonObject = self.config["pretrained_cfg"]
        return {
            "input_size": (3, 224, 224),
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
            **cfg,
        }

    @property
    def model_args(self) -> JsonObject:
        """Arguments that rebuild the network."""
        saved = self.config.get("model_args") or {}
        return {key: value for key, value in saved.items() if key != "num_classes"}

    @property
    def num_classes(self) -> int | None:
        """K of its classifier."""
        count = self.config.get("num_classes", self.pretrained_cfg.get("num_classes"))
        return None if count is None else int(count)

    @property
    def class_names(self) -> list[str] | None:
        """Its label names, where it has any."""
        names = self.config.get("label_names")
        return list(names) if names else None


def is_checkpoint_name(name: str) -> bool:
    """Whether `name` points at a checkpoint rather than at an entry of timm's registry."""
    return name.startswith(_PREFIXES) or (Path(name) / "config.json").is_file()


def is_on_hub(name: str) -> bool:
    """Whether `name` points at a repository of the Hub, which is fetched; a folder is there or not."""
    prefix, _, rest = name.partition(":") if name.startswith(_PREFIXES) else ("local-dir", "", name)
    return prefix in ("hf-hub", "hf_hub") or (prefix == "transformers" and not Path(rest).is_dir())


def locate_checkpoint(name: str) -> Checkpoint:
    """Find the folder behind `name`, fetching it from the Hub where it names a repository.

    Raises:
        FileNotFoundError: when there is no such folder or repository.
        ValueError: when it holds no config.json or no safetensors.
    """
    prefix, _, rest = name.partition(":") if name.startswith(_PREFIXES) else ("local-dir", "", name)
    if not rest:
        raise ValueError(
            f"{name!r} names nothing after the colon; write {prefix}:OWNER/REPO or {prefix}:FOLDER."
        )
    on_hub = is_on_hub(name)
    folder = _fetch(rest) if on_hub else Path(rest).expanduser()
    content = check_saved_model(folder, rest)
    checkpoint = Checkpoint(
        folder, content, *(("hub", rest) if on_hub else ("folder", folder.resolve().name))
    )
    if checkpoint.config.get("library_name") == "torch":
        raise ValueError(
            f"{rest!r} holds the weights of {checkpoint.config.get('class')}, which only its own code can build. "
            f"Load them so: {checkpoint.config.get('load_with')}"
        )
    if checkpoint.is_timm:
        _check_timm_names(checkpoint, rest)
    return checkpoint


def check_saved_model(folder: Path, name: str) -> JsonObject:
    """The config of a saved model, which may come from anywhere, found to be one that can be built.

    Args:
        name: What errors call the folder.

    Raises:
        FileNotFoundError: The folder holds no config.json.
        ValueError: It holds no safetensors, or a config with entries of another form or beyond any network's size.
    """
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{name!r} holds no model: there is no config.json. Give the folder of a run."
        )
    if not any(folder.glob("model*.safetensors")):
        raise ValueError(
            f"{name!r} holds no {_WEIGHTS}. Only safetensors are loaded, as other formats can run code; "
            "convert it first."
        )
    if (folder / "adapter_config.json").exists():
        raise ValueError(
            f"{name!r} holds an adapter, which names another model to be fetched. Merge it into that model first, and "
            "give the merged one."
        )
    images = folder / "preprocessor_config.json"
    if images.is_file():
        _checked_config(images)
    return _checked_config(folder / "config.json")


def _checked_config(path: Path) -> JsonObject:
    """A model's config, whose known entries have the form that they need; it may come from anywhere."""
    config = read_object(path)
    images = config.get("pretrained_cfg")
    odd = [
        name
        for name in ("architecture", "library_name", "model_type")
        if not isinstance(config.get(name, ""), str)
    ]
    odd += [name for name in ("pretrained_cfg", "model_args") if not isinstance(config.get(name) or {}, dict)]
    odd += [name for name in ("label_names",) if not isinstance(config.get(name) or [], list)]
    odd += [] if _is_count(config.get("num_classes", 0), _MOST_CLASSES) else ["num_classes"]
    odd += [name for name in _SIDES if not _are_sides(config.get(name))]
    if isinstance(images, dict):
        size = images.get("input_size", (3, 1, 1))
        is_size = (
            isinstance(size, list | tuple)
            and len(size) == 3
            and all(_is_count(side, _LARGEST_SIDE) for side in size)
        )
        odd += [] if is_size else ["pretrained_cfg.input_size"]
        odd += [
            f"pretrained_cfg.{name}" for name in ("mean", "std") if not isinstance(images.get(name, []), list)
        ]
    if odd:
        raise ValueError(
            f"{path} cannot be used: its entry {odd[0]!r} has not the form that a saved model's has."
        )
    return config


def _are_sides(value: object) -> bool:
    """Whether a number, or all those of a list or of an object, can be the side of a network's images."""
    if isinstance(value, dict | list):
        return all(map(_are_sides, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, bool) or _is_count(value, _LARGEST_SIDE)


def _is_count(value: object, most: int) -> bool:
    return value is None or (type(value) is int and 0 <= value <= most)


def _check_timm_names(checkpoint: Checkpoint, name: str) -> None:
    """Refuse what only transformers can read: the stock wrapper prefixes the name of every weight."""
    try:
        with safe_open(checkpoint.folder / _WEIGHTS, framework="pt") as weights:
            names = list(weights.keys())
    except SafetensorError as error:
        raise ValueError(f"The weights in {name!r} cannot be read: {error}.") from error
    if all(key.startswith("timm_model.") for key in names):
        raise ValueError(
            f"{name!r} was saved by transformers' own wrapper, in a form timm cannot read. Convert it once: "
            "jal_hf.models.export_model(AutoModelForImageClassification.from_pretrained(FOLDER), FOLDER)"
        )


def _fetch(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repo_id, _, revision = repository.partition("@")
    try:
        return Path(snapshot_download(repo_id, revision=revision or None, allow_patterns=_FETCHED))
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is no repository name: {error} Write OWNER/REPO.") from error
    except LocalEntryNotFoundError as error:
        raise FileNotFoundError(
            f"{repo_id!r} is not in the cache and the Hub cannot be reached. Connect once, or give a "
            "local folder."
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "none"
        raise FileNotFoundError(
            f"The Hub does not give {repository!r} (status {status}). Check the name and revision; "
            "for a private repository log in first: hf auth login"
        ) from error
