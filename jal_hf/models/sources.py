"""Where a checkpoint lies: a folder, or a repository of the Hub, of which only JSON and safetensors are
fetched.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from jal_hf.ground.files import JsonObject

_PREFIXES = ("hf-hub:", "hf_hub:", "local-dir:", "transformers:")
_WEIGHTS = "model.safetensors"
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
    on_hub = prefix in ("hf-hub", "hf_hub") or (prefix == "transformers" and not Path(rest).is_dir())
    folder = _fetch(rest) if on_hub else Path(rest).expanduser()
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise FileNotFoundError(
            f"{rest!r} holds no config.json, so it is no saved model. Give the folder of a run."
        )
    if not any(folder.glob("model*.safetensors")):
        raise ValueError(
            f"{rest!r} holds no {_WEIGHTS}. Only safetensors are loaded, as other formats can run code; "
            "convert it first."
        )
    content = json.loads(config_file.read_text(encoding="utf-8"))
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


def _check_timm_names(checkpoint: Checkpoint, name: str) -> None:
    """Refuse what only transformers can read: the stock wrapper prefixes the name of every weight."""
    with safe_open(checkpoint.folder / _WEIGHTS, framework="pt") as weights:
        names = list(weights.keys())
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
