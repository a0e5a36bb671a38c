"""A Space of the Hub that shows a pushed run: the page of `jal-hf demo`, pointed at the model's repository."""

from __future__ import annotations

import yaml

from jal_hf.hub.text import clean, code
from jal_hf.hub.transfer import Patience, PushError, upload_files
from jal_hf.hub.validation import DEFAULT_LICENSE, validate_hub_settings

# The version that the page is tested with; the Hub installs it before the requirements.
SDK, SDK_VERSION = "gradio", "6.31.0"

_APP = '''"""The page of a trained run, on the Hub."""

from jal_hf.runs.demo import demo_page

demo_page({repo_id!r}).launch()
'''
_CARD = """---
{metadata}---

The page of {model}, a classifier trained to survive wrong labels: classify an image, see the
run's curves, its noise, and what a loss makes of wrong labels. `jal-hf demo RUN` opens the same page
on your own machine, with the suspects of the audit.

A private model needs a token that may read it, as the secret `HF_TOKEN` in the settings of this Space.
"""


def space_files(repo_id: str, license: str = DEFAULT_LICENSE) -> dict[str, bytes]:
    """The Space's files by name: `app.py`, `requirements.txt` and `README.md` with the header that the Hub reads.

    Args:
        repo_id: NAME/REPO of the pushed model.
        license: of the Space, an identifier of the Hub.

    Raises:
        ValueError: a name or a licence that the Hub would refuse.
    """
    validate_hub_settings(repo_id, license)
    header = {
        "title": clean(repo_id.rpartition("/")[2], 60),
        "emoji": "🧹",
        "colorFrom": "blue",
        "colorTo": "green",
        "sdk": SDK,
        "sdk_version": SDK_VERSION,
        "app_file": "app.py",
        "pinned": False,
        "license": license,
        "models": [repo_id],
        "tags": ["jal_hf", "noisy-labels"],
    }
    metadata = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    texts = {
        "README.md": _CARD.format(metadata=metadata, model=code(repo_id)),
        # Double quotes, as the formatter writes them; a repository's name holds none.
        "app.py": _APP.format(repo_id=repo_id).replace(f"'{repo_id}'", f'"{repo_id}"'),
        "requirements.txt": "jal_hf[demo]\n",
    }
    return {name: text.encode() for name, text in texts.items()}


def push_space(
    space_id: str,
    repo_id: str,
    *,
    license: str = DEFAULT_LICENSE,
    private: bool | None = None,
    token: str | None = None,
    patience: Patience | None = None,
) -> str:
    """Create the Space where it is missing, and put there the page of the model in `repo_id`.

    Args:
        space_id: NAME/SPACE.
        private: of a new Space; a public one that is there is refused.

    Returns:
        The address of the commit.

    Raises:
        ValueError: for a bad name or licence.
        PushError: when the push fails.
    """
    validate_hub_settings(space_id)
    try:
        return upload_files(
            space_id,
            dict(space_files(repo_id, license)),
            message=f"Show {repo_id}",
            repo_type="space",
            space_sdk=SDK,
            private=private,
            token=token,
            patience=patience,
        )
    except PushError as error:
        raise PushError(
            f"{error}\nThe model is on the Hub; only its Space is missing.", error.status
        ) from None
