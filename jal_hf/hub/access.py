"""May this user push there? Asked before training starts, so that a slip costs a second and not a night."""

from __future__ import annotations

from huggingface_hub import HfApi, get_token

from jal_hf.hub.transfer import Patience, PushError, persist
from jal_hf.hub.validation import DEFAULT_LICENSE, validate_hub_settings

_LOG_IN = (
    "Log in with `hf auth login`, or set the environment variable HF_TOKEN to a token with write access "
    "from https://huggingface.co/settings/tokens."
)


def check_hub_access(
    repo_id: str,
    *,
    token: str | None = None,
    license: str = DEFAULT_LICENSE,
    revision: str | None = None,
    patience: Patience | None = None,
) -> str:
    """Check name, licence, token and the right to the namespace.

    Args:
        repo_id: REPO or NAME/REPO.
        token: None takes the stored one or HF_TOKEN.
        revision: branch that is pushed to; None is the main one.

    Returns:
        NAME/REPO in full.

    Raises:
        ValueError: for a bad name or licence, an empty revision, a missing or refused token, or a namespace that is not
            the user's.
        ConnectionError: when the Hub cannot be asked.
    """
    validate_hub_settings(repo_id, license, revision)
    token = token or get_token()
    if not token:
        raise ValueError(f"Pushing to {repo_id} needs a token, and there is none. {_LOG_IN}")
    api = HfApi(token=token)
    try:
        user = persist(
            api.whoami, patience or Patience(timeout=30.0), what="ask the Hub about the token", token=token
        )
    except PushError as error:
        if error.status in (401, 403):
            raise ValueError(f"The Hub does not accept the token. {_LOG_IN}") from None
        raise ConnectionError(
            f"{error}. Train without --push_to_hub and push later with: jal-hf push RUN NAME/REPO"
        ) from None
    names = [user["name"], *(organisation["name"] for organisation in user.get("orgs", []))]
    if "/" not in repo_id:
        return f"{user['name']}/{repo_id}"
    if repo_id.split("/")[0] not in names:
        raise ValueError(
            f"{repo_id} lies under the name of somebody else: this token belongs to {user['name']}. "
            f"Allowed names are {', '.join(names)}."
        )
    return repo_id
