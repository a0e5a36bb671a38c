"""One file of a Hub repository at a time, refused before it is fetched when it is larger than such a file can be."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any


def hub_file(
    repo_id: str, name: str, *, most_bytes: int, repo_type: str = "dataset", revision: str | None = None
) -> Path:
    """Fetch a file into the Hub client's cache.

    Args:
        repo_id: OWNER/NAME.
        name: Path in the repository.
        most_bytes: Largest size in bytes that is fetched.
        repo_type: `dataset` or `model`.
        revision: Branch or commit.

    Returns:
        Its place in the cache, `.../snapshots/COMMIT/NAME`.

    Raises:
        FileNotFoundError: There is no such repository, revision or file.
        ValueError: The name is none of a repository, or the file is too large.
        ConnectionError: The Hub cannot be asked, and the file is not in the cache.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    fetch: Any = partial(hf_hub_download, repo_id, name, repo_type=repo_type, revision=revision)
    try:
        facts = fetch(dry_run=True)
        if facts.file_size is not None and facts.file_size > most_bytes:
            raise ValueError(
                f"{name} of {repo_id} has {facts.file_size:,} bytes; such a file has at most {most_bytes:,}."
            )
        return Path(fetch())
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is no name of a repository; write OWNER/NAME.") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise ConnectionError(
            f"{name} of {repo_id} is not in the Hub's cache, and the Hub cannot be asked (no network, or "
            "HF_HUB_OFFLINE is set)."
        ) from error
    except GatedRepoError as error:
        raise FileNotFoundError(
            f"{repo_id} is gated; ask for access on its page and log in with: hf auth login"
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise FileNotFoundError(
            f"There is no {repo_type} {repo_id}{'@' + revision if revision else ''} on the Hub, or it is private and "
            "the token does not open it."
        ) from error
    except EntryNotFoundError as error:
        raise FileNotFoundError(f"{repo_id} has no {name}.") from error
    except (HfHubHTTPError, HTTPError) as error:
        first = next(iter(str(error).splitlines()), "")
        raise ConnectionError(f"The Hub did not give {name} of {repo_id}: {first}") from error
