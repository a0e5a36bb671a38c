"""A Hub on 127.0.0.1 for tests: repositories in memory, the real clients against it, and faults on demand.

Start it with `LocalHub()` as a context manager, give `hub.environment(home)` to a client's subprocess. A
client cannot be pointed at it once huggingface_hub is imported. Faults are queued by the test
(`hub.fault("cut", "/commit/")`) or by the client itself: POST /_test/fault with the same words.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_localtokenforteststhatmustneverleak"
USER = "tester"
_LFS_SUFFIXES = (".safetensors", ".parquet", ".arrow", ".png", ".pt", ".bin", ".zip", ".tar", ".pth")


@dataclass
class Blob:
    """One file's content and its name in git or LFS."""

    content: bytes
    lfs: bool

    @property
    def oid(self) -> str:
        if self.lfs:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass
class Commit:
    """All files after one commit."""

    oid: str
    title: str
    date: str
    files: dict[str, Blob]


@dataclass
class Repository:
    """A repository: private or not, and its commits, oldest first; those of other branches by name."""

    kind: str
    name: str
    private: bool
    commits: list[Commit] = field(default_factory=list)
    branches: dict[str, list[Commit]] = field(default_factory=dict)

    def at(self, revision: str) -> Commit | None:
        if revision in ("main", "refs/convert/parquet"):
            return self.commits[-1] if revision == "main" else None
        if revision in self.branches:
            return self.branches[revision][-1]
        return next((commit for commit in self.commits if commit.oid == revision), None)

    def commit(self, title: str, files: dict[str, Blob], branch: str = "main") -> Commit:
        commits = self.branches.get(branch, self.commits)
        seed = f"{self.name}{branch}{len(commits)}{title}{sorted((p, b.oid) for p, b in files.items())}"
        date = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        commits.append(Commit(hashlib.sha1(seed.encode()).hexdigest(), title, date, files))
        return commits[-1]


@dataclass
class Fault:
    """What happens to the next `times` requests whose "METHOD /path" holds `where`.

    Kinds: a status as text ("429"), "refuse" (reset at once), "cut" (reset in the middle of the body),
    "lost" (done, but the answer never arrives), "stall" (silence for `seconds`, then reset).
    """

    kind: str
    where: str = ""
    times: int = 1
    seconds: float = 3.0


class LocalHub:
    """The server and its state."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.lfs: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.verified: set[tuple[str, str]] = set()  # (model, result file) that the board calls so
        self.injected = 0
        self.lock = threading.RLock()
        hub = self

        class Handler(_Handler):
            state = hub

        class Server(ThreadingHTTPServer):
            request_queue_size = 128
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Connections that a fault or a client cut off are no news."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> LocalHub:
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()

    def environment(self, home: Path, token: str | None = TOKEN) -> dict[str, str]:
        """Variables for a client's process: this Hub, its own cache, no proxy and no offline mode."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        for proxy in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            kept.pop(proxy, None)
        own = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        return {**kept, **own, **({"HF_TOKEN": token} if token else {})}

    def fault(self, kind: str, where: str = "", times: int = 1, seconds: float = 3.0) -> None:
        """Queue a fault."""
        with self.lock:
            self.faults.append(Fault(kind, where, times, seconds))

    def repository(self, name: str, kind: str = "models") -> Repository:
        """A repository by NAME/REPO."""
        return self.repositories[kind, name]

    def files(self, name: str, kind: str = "models") -> dict[str, bytes]:
        """The files of a repository now."""
        return {path: blob.content for path, blob in self.repository(name, kind).commits[-1].files.items()}

    def take_fault(self, request: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.where in request:
                    fault.times -= 1
                    self.injected += 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                    return fault
        return None


def check_card(content: str) -> list[str]:
    """What the Hub refuses in a card's metadata, as far as it is public."""
    found = re.match(r"^(\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(\r\n|\n|$))", content)
    if not found:
        return []
    try:
        data = yaml.safe_load(found.group(2))
    except yaml.YAMLError as error:
        return [f"YAML: {error}"]
    if not isinstance(data, dict):
        return ["metadata must be a mapping"]
    errors = [f'"{key}" must not be null' for key, value in data.items() if value is None]
    for key in ("license", "library_name", "pipeline_tag"):
        if key in data and not isinstance(data[key], str):
            errors.append(f'"{key}" must be a string')
    for key in ("tags", "datasets", "metrics", "task_categories"):
        values = data.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
            errors.append(f'"{key}" must be an array of strings')
    for entry in data.get("model-index", []):
        if not isinstance(entry.get("name"), str) or not entry["name"]:
            errors.append('"model-index[0].name" must be a string')
        for result in entry.get("results", []):
            for key in ("name", "type", "config", "split"):
                if key in result["dataset"] and not isinstance(result["dataset"][key], str):
                    errors.append(f'"model-index[0].results[0].dataset.{key}" must be a string')
            if not all("value" in metric and isinstance(metric["type"], str) for metric in result["metrics"]):
                errors.append('"metrics" need type and value')
    return errors


def check_space(content: str) -> list[str]:
    """What the Hub refuses in a Space's header: it decides how the Space is built."""
    errors = check_card(content)
    found = re.match(r"^---\n([\S\s]*?)\n---", content)
    data = yaml.safe_load(found[1]) if found and not errors else {}
    if data.get("sdk") not in ("gradio", "docker", "static"):
        errors.append('"sdk" must be one of gradio, docker, static')
    if not re.fullmatch(r"\d+\.\d+\.\d+", str(data.get("sdk_version", "0.0.0"))):
        errors.append('"sdk_version" must be a version')
    for key in ("colorFrom", "colorTo"):
        if data.get(key, "red") not in ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"):
            errors.append(f'"{key}" must be one of the Hub\'s colours')
    if str(data.get("emoji", "x")).isalnum():
        errors.append('"emoji" must be an emoji')
    return errors


class _Handler(BaseHTTPRequestHandler):
    state: LocalHub
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: two would wait 40 ms for each other
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self.route, self.query = unquote(url.path), parse_qs(url.query)
        request = f"{self.command} {self.route}"
        with self.state.lock:
            self.state.requests.append(request)
        fault = None if self.route.startswith("/_test") else self.state.take_fault(request)
        if fault is not None and fault.kind in ("refuse", "cut", "stall"):
            if fault.kind == "cut":
                self.rfile.read(min(64, int(self.headers.get("Content-Length") or 0)))
            if fault.kind == "stall":
                time.sleep(fault.seconds)
            self._reset()
            return
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault is not None and fault.kind.isdigit():
            self._json({"error": f"injected {fault.kind}"}, int(fault.kind))
            return
        self.lost = fault is not None and fault.kind == "lost"
        with self.state.lock:
            self._answer()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

    def _reset(self) -> None:
        """End the connection as a broken line does, with a reset and no answer."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        if getattr(self, "lost", False):
            self._reset()
            return
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value: Any, status: int = 200, **headers: str) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **headers})

    def _missing(self, code: str, status: int = 404) -> None:
        self._json({"error": code}, status, **{"X-Error-Code": code, "X-Error-Message": code})

    @property
    def _authorised(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _answer(self) -> None:
        if self.route == "/_test/fault":
            self.state.fault(**json.loads(self.body))
            self._json({})
        elif self.route == "/api/whoami-v2":
            self._json({"name": USER, "type": "user", "orgs": []}) if self._authorised else self._missing(
                "", 401
            )
        elif self.route == "/api/validate-yaml":
            asked = json.loads(self.body)
            check = check_space if asked.get("repoType") == "space" else check_card
            errors = [{"message": text} for text in check(asked["content"])]
            self._json({"errors": errors, "warnings": []}, 400 if errors else 200)
        elif self.route == "/api/models":
            self._list_models()
        elif self.route == "/api/repos/create":
            self._create()
        elif found := re.fullmatch(r"/lfs/([0-9a-f]{64})", self.route):
            self._store(found[1])
        elif found := re.fullmatch(
            r"/(datasets/|spaces/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", self.route
        ):
            self._lfs_batch()
        elif found := re.fullmatch(
            r"/(datasets/|spaces/)?([^/]+/[^/]+)/resolve/([^/]+|refs/[^/]+/[^/]+)/(.+)", self.route
        ):
            self._resolve((found[1] or "models/").rstrip("/"), *found.groups()[1:])
        elif found := re.fullmatch(
            r"/api/(models|datasets|spaces)/([^/]+/[^/]+)(?:/(\w[\w-]*)(?:/(.*))?)?", self.route
        ):
            self._api(*found.groups())
        else:
            self._missing("RepoNotFound")

    def _create(self) -> None:
        if not self._authorised:
            self._missing("", 401)
            return
        asked = json.loads(self.body)
        kind, owner = f"{asked.get('type', 'model')}s", asked.get("organization") or USER
        name = f"{owner}/{asked['name']}"
        if owner != USER:
            self._missing("", 403)
            return
        if kind == "spaces" and asked.get("sdk") not in ("gradio", "docker", "static"):
            self._json({"error": "a Space needs an sdk: gradio, docker or static"}, 400)
            return
        url = f"{self.state.url}/{'' if kind == 'models' else kind + '/'}{name}"
        if (kind, name) in self.state.repositories:
            self._json({"error": "You already created this repo", "url": url}, 409)
            return
        repository = Repository(
            kind, name, asked.get("visibility") == "private" or bool(asked.get("private"))
        )
        repository.commit("initial commit", {".gitattributes": Blob(b"*.safetensors filter=lfs\n", False)})
        self.state.repositories[kind, name] = repository
        self._json({"url": url})

    def _store(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            self._json({"error": "checksum"}, 400)
            return
        self.state.lfs[oid] = self.body
        self._send(b"", 200, {})

    def _lfs_batch(self) -> None:
        if not self._authorised:
            self._missing("", 401)
            return
        objects = []
        for item in json.loads(self.body)["objects"]:
            entry = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.state.lfs:
                entry["actions"] = {"upload": {"href": f"{self.state.url}/lfs/{item['oid']}", "header": {}}}
            objects.append(entry)
        self._json(
            {"transfer": "basic", "objects": objects}, **{"Content-Type": "application/vnd.git-lfs+json"}
        )

    def _find(self, kind: str, name: str) -> Repository | None:
        repository = self.state.repositories.get((kind, name))
        if repository is None or (repository.private and not self._authorised):
            self._missing("RepoNotFound", 404 if self._authorised else 401)
            return None
        return repository

    def _resolve(self, kind: str, name: str, revision: str, path: str) -> None:
        repository = self._find(kind, name)
        if repository is None:
            return
        commit = repository.at(revision)
        if commit is None or path not in commit.files:
            self._missing("RevisionNotFound" if commit is None else "EntryNotFound")
            return
        blob = commit.files[path]
        headers = {
            "X-Repo-Commit": commit.oid,
            "ETag": f'"{blob.oid}"',
            "Content-Type": "application/octet-stream",
        }
        content = blob.content
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if span and self.command == "GET":
            start, end = int(span[1]), int(span[2] or len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{min(end, len(content) - 1)}/{len(content)}"
            self._send(content[start : end + 1], 206, headers)
            return
        self._send(content, 200, headers)

    def _api(self, kind: str, name: str, verb: str | None, rest: str | None) -> None:
        if verb in ("preupload", "commit", "branch") and not self._authorised:
            self._missing("", 401)
            return
        repository = self._find(kind, name)
        if repository is None:
            return
        if verb == "branch":
            taken = str(rest) in ("main", *repository.branches)
            repository.branches.setdefault(str(rest), list(repository.commits))
            self._json({}, 409 if taken else 200)
            return
        if verb in ("tree", "paths-info"):
            revision, _, path = (rest or "main").partition("/")
            if (rest or "").startswith("refs/"):
                revision, path = rest or "", ""
        else:
            revision, path = rest or "main", ""
        commit = repository.at(revision)
        if commit is None:
            self._missing("RevisionNotFound")
        elif verb == "preupload":
            self._preupload(commit)
        elif verb == "commit":
            self._commit(repository, revision)
        elif verb == "tree":
            self._tree(commit, path)
        elif verb == "paths-info":
            asked = json.loads(self.body)["paths"]
            self._json([_entry(item, commit.files[item]) for item in asked if item in commit.files])
        elif verb == "commits":
            self._json(
                [
                    {"id": c.oid, "title": c.title, "message": "", "date": c.date, "authors": []}
                    for c in repository.commits[::-1]
                ]
            )
        elif verb == "refs":
            self._json(
                {
                    "branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": commit.oid}],
                    "converts": [],
                    "tags": [],
                }
            )
        elif verb in (None, "revision"):
            self._json(self._info(repository, commit))
        elif verb == "leaderboard" and kind == "datasets":
            self._board(name)
        else:
            self._missing("EntryNotFound")

    def _list_models(self) -> None:
        """The models whose tags hold every filter, as the Hub's list gives them."""
        found = [
            self._info(repository, repository.commits[-1])
            for (kind, _), repository in self.state.repositories.items()
            if kind == "models" and (self._authorised or not repository.private)
        ]
        asked, shown = self.query.get("filter", []), self.query.get("expand")
        found = [info for info in found if all(tag in info["tags"] for tag in asked)]
        self._json([{key: info[key] for key in ("id", *(shown or info)) if key in info} for info in found])

    def _board(self, dataset: str) -> None:
        """The results that models' files give for a dataset, as far as the Hub would take the files."""
        rows = []
        for (kind, model), repository in self.state.repositories.items():
            for path, blob in repository.commits[-1].files.items():
                if kind == "models" and re.fullmatch(r"\.eval_results/[^/]+\.ya?ml", path):
                    rows += self._board_rows(dataset, model, path, blob)
        rows.sort(key=lambda row: -row["value"])
        self._json([{"rank": place, **row} for place, row in enumerate(rows, 1)])

    def _board_rows(self, dataset: str, model: str, path: str, blob: Blob) -> list[dict[str, Any]]:
        try:
            entries = yaml.safe_load(blob.content) if len(blob.content) < 10_000 else []
            return [
                {
                    "modelId": model,
                    "value": entry["value"],
                    "filename": path.rpartition("/")[2],
                    "verified": (model, path) in self.state.verified,
                    "author": {"name": model.split("/")[0], "type": "user", "fullname": "", "avatarUrl": ""},
                    **{key: entry[key] for key in ("source", "notes") if key in entry},
                }
                for entry in entries
                if entry["dataset"]["id"] == dataset and isinstance(entry["value"], int | float)
            ]
        except (yaml.YAMLError, TypeError, KeyError, ValueError, RecursionError):
            return []

    def _info(self, repository: Repository, commit: Commit) -> dict[str, Any]:
        card = commit.files.get("README.md")
        found = re.match(r"^---\n([\S\s]*?)\n---", card.content.decode()) if card else None
        data = yaml.safe_load(found.group(1)) if found else {}
        data = data if isinstance(data, dict) else {}
        return {
            "id": repository.name,
            "modelId": repository.name,
            "sha": commit.oid,
            "private": repository.private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [*data.get("tags", []), *(f"dataset:{name}" for name in data.get("datasets", []))],
            "cardData": data,
            "lastModified": commit.date,
            "createdAt": repository.commits[0].date,
            "siblings": [{"rfilename": path} for path in sorted(commit.files)],
        }

    def _preupload(self, commit: Commit) -> None:
        answer = []
        for item in json.loads(self.body)["files"]:
            known = commit.files.get(item["path"])
            entry = {
                "path": item["path"],
                "uploadMode": "lfs" if item["path"].endswith(_LFS_SUFFIXES) else "regular",
                "shouldIgnore": False,
            }
            answer.append({**entry, **({"oid": known.oid} if known else {})})
        self._json({"files": answer})

    def _commit(self, repository: Repository, branch: str) -> None:
        files, title = dict(repository.branches.get(branch, repository.commits)[-1].files), ""
        for line in self.body.splitlines():
            operation = json.loads(line)
            key, value = operation["key"], operation["value"]
            if key == "header":
                title = value["summary"]
            elif key == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), False)
            elif key == "lfsFile":
                if value["oid"] not in self.state.lfs:
                    self._json({"error": f"LFS object {value['oid']} is missing"}, 400)
                    return
                files[value["path"]] = Blob(self.state.lfs[value["oid"]], True)
            elif key == "deletedFile":
                files.pop(value["path"], None)
            elif key == "deletedFolder":
                files = {path: blob for path, blob in files.items() if not path.startswith(value["path"])}
        commit = repository.commit(title, files, branch)
        self._json(
            {"commitOid": commit.oid, "commitUrl": f"{self.state.url}/{repository.name}/commit/{commit.oid}"}
        )

    def _tree(self, commit: Commit, folder: str) -> None:
        prefix = f"{folder.rstrip('/')}/" if folder.strip("/") else ""
        below = {path: blob for path, blob in commit.files.items() if path.startswith(prefix)}
        if folder and not below:
            self._missing("EntryNotFound")
            return
        folders = set()
        for path in below:
            parts = path[len(prefix) :].split("/")[:-1]
            folders |= {prefix + "/".join(parts[: depth + 1]) for depth in range(len(parts))}
        recursive = self.query.get("recursive", [""])[0].lower() in ("true", "1")
        answer = [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in sorted(folders)]
        answer += [_entry(path, blob) for path, blob in sorted(below.items())]
        if not recursive:
            answer = [entry for entry in answer if "/" not in entry["path"][len(prefix) :]]
        self._json(answer)


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(blob.content), "oid": blob.oid}
    if blob.lfs:
        entry["lfs"] = {"oid": blob.oid, "size": len(blob.content), "pointerSize": 130}
    return entry
