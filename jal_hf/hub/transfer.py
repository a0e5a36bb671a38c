"""One commit to the Hub: all files or none, repeated within a bound while the failure may pass.

huggingface_hub repeats single requests. A commit is several of them, and one whose answer was lost may have been taken,
so the whole is repeated here, and looks first whether the commit is there already.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from huggingface_hub import CommitOperationAdd, HfApi, get_session, get_token
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.errors import HTTPError as ClientError  # type: ignore[attr-defined]

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

# Conflicts pass as well: another commit, or a creation still going on, came first.
_PASSING = frozenset({408, 409, 412, 425, 429, 500, 502, 503, 504})
_SECRET = re.compile(r"\b(hf|api)_[A-Za-z0-9]{8,}")


class PushError(ConnectionError):
    """A push that did not get through; the message says why. `status` is the Hub's answer, None without
    one.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class PublicRepositoryError(ValueError):
    """A private repository was asked for, and the one that is there is public."""


@dataclass(frozen=True)
class Patience:
    """How long to keep trying.

    Attributes:
        attempts: tries in all.
        first_wait, longest_wait: seconds before the second try, doubled each time up to the longest.
        timeout: seconds without an answer after which a try counts as failed.
    """

    attempts: int = 5
    first_wait: float = 1.0
    longest_wait: float = 30.0
    timeout: float = 120.0

    def wait(self, attempt: int, asked: float | None) -> float:
        """Seconds before try `attempt` + 1: what the Hub asked for, or the next step of the backoff, spread
        a little.
        """
        step = min(self.longest_wait, self.first_wait * 2 ** (attempt - 1))
        return (
            min(self.longest_wait * 4, asked)
            if asked is not None
            else step * random.Random().uniform(0.8, 1.2)
        )


def upload_files(
    repo_id: str,
    files: Mapping[str, Path | bytes],
    *,
    message: str,
    repo_type: str = "model",
    space_sdk: str | None = None,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    patience: Patience | None = None,
) -> str:
    """Create the repository where it is missing and put all files there in one commit.

    A try that got through although its answer was lost is recognised by the Hub's checksums: the files are
    not committed twice.

    Args:
        files: path in the repository -> file on disk, or its content.
        space_sdk: what a new Space runs on; of Spaces only.
        private: of a new repository; None leaves the Hub's default. A public one that is there is refused.
        revision: Branch to commit to, made from the main one where it is missing; None is the main one.

    Returns:
        The address of the commit.

    Raises:
        PushError: when the Hub refuses, or does not take the files within the bound. No token is in the
            message.
    """
    api = HfApi(token=token)
    patience = patience or Patience()

    def attempt() -> str:
        # fresh operations, as one that was committed cannot be used again
        operations = [CommitOperationAdd(name, content) for name, content in sorted(files.items())]
        created = api.create_repo(
            repo_id, repo_type=repo_type, space_sdk=space_sdk, private=private, exist_ok=True
        )
        name = str(created.repo_id)  # with the user's own name where only REPO was given
        if private and not api.repo_info(name, repo_type=repo_type).private:
            raise PublicRepositoryError(
                f"{repo_id} is there already and public, although a private one was asked for; "
                "make it private in its settings, or leave the wish out"
            )
        if revision not in (None, "main") and not str(revision).startswith("refs/"):
            api.create_branch(name, branch=str(revision), repo_type=repo_type, exist_ok=True)
        done = api.create_commit(
            name, operations, commit_message=message, repo_type=repo_type, revision=revision
        )
        return str(done.commit_url)

    return persist(attempt, patience, what=f"push to {repo_id}", token=token)


def persist(
    action: Callable[[], Result], patience: Patience, *, what: str, token: str | None = None
) -> Result:
    """Run `action` until it works, fails for good, or the tries are spent.

    Raises:
        PushError: naming the reason, without any token.
    """
    for attempt in range(1, patience.attempts + 1):
        try:
            with_timeout(patience.timeout)
            return action()
        except (ClientError, OSError, RuntimeError, ValueError) as error:
            cause = root_cause(error)
            if not may_pass(cause) or attempt == patience.attempts:
                tries = f" in {attempt} tries" if attempt > 1 else ""
                reason = redact(explain(cause), token)
                raise PushError(f"Could not {what}{tries}: {reason}", status_of(cause)) from None
            seconds = patience.wait(attempt, retry_after(cause))
            logger.warning("%s; trying again in %.1f s", redact(explain(cause), token), seconds)
            time.sleep(seconds)
    raise PushError(f"Could not {what}: no tries were allowed.")


def with_timeout(seconds: float) -> None:
    """Give the Hub client's session a time limit, as it waits for ever by default and would hang on a
    stall.
    """
    get_session().timeout = seconds


def root_cause(error: BaseException) -> BaseException:
    """The failure of the network behind an error of the client; uploads wrap theirs in a RuntimeError."""
    inner = error.__cause__ or (error.__context__ if isinstance(error, RuntimeError) else None)
    return root_cause(inner) if isinstance(error, RuntimeError) and inner is not None else error


def status_of(error: BaseException) -> int | None:
    """The HTTP status of a refusal, or None when no answer came."""
    response = getattr(error, "response", None)
    return response.status_code if isinstance(error, HfHubHTTPError) and response is not None else None


def may_pass(error: BaseException) -> bool:
    """Whether trying again can help: the network failed, or the Hub was busy."""
    if isinstance(error, OfflineModeIsEnabled):
        return False
    status = status_of(error)
    if status is not None:
        return status in _PASSING
    return isinstance(error, ClientError | ConnectionError | TimeoutError)


def retry_after(error: BaseException) -> float | None:
    """Seconds the Hub asked to wait, or None."""
    response = getattr(error, "response", None)
    text = response.headers.get("Retry-After") if response is not None else None
    return float(text) if text is not None and text.isdigit() else None


def explain(error: BaseException) -> str:
    """One sentence on what failed."""
    status = status_of(error)
    known = {
        401: "the Hub does not accept the token (401); log in with: hf auth login",
        403: "the token may not write there (403); use one with write access, and a name that is yours",
        404: "there is no such repository or revision (404)",
        413: "a file is larger than the Hub takes (413)",
        429: "the Hub asks for fewer requests (429)",
    }
    if status in known:
        return known[status]
    if status is not None:
        return f"the Hub answered with status {status}"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so nothing is sent; unset it"
    first = next(iter(str(error).splitlines()), "")
    if isinstance(error, PublicRepositoryError):
        return first
    return f"{type(error).__name__}{': ' + first if first else ''}"


def redact(text: str, token: str | None = None) -> str:
    """The text without any access token."""
    for secret in {token, get_token()} - {None, ""}:
        text = text.replace(str(secret), "<token>")
    return _SECRET.sub("<token>", text)
