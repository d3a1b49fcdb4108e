"""A hub on the loopback: as much of the Hugging Face hub's and ModelScope's protocol as readers of
data sets and models need.

Every request is in `Hub.requests`, and how many bytes of each file were sent in `Hub.sent`. What is
in `gated` or `private` is refused; a file in `cut` is broken off in its middle, as often as its
number says; one in `gone` is listed and not found; of one in `halted` half is sent, and no more.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class Hub:
    """Data sets and models by name; each is a list of its revisions, oldest first, of files."""

    def __init__(self) -> None:
        self.revisions: dict[str, dict[str, dict[str, bytes]]] = {}
        self.gated: set[str] = set()
        self.private: set[str] = set()
        self.cut: dict[str, int] = {}
        self.gone: set[str] = set()
        self.halted: set[str] = set()
        self.half_sent = threading.Event()
        self.go_on = threading.Event()
        self.sent: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.closed = False
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self})
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def publish(self, dataset: str, content: Path | dict[str, bytes], commit: str = "") -> str:
        """Add a revision with these files, which becomes the newest; return its commit."""
        if isinstance(content, Path):
            files = sorted(path for path in content.rglob("*") if path.is_file())
            content = {path.relative_to(content).as_posix(): path.read_bytes() for path in files}
        content = dict(sorted(content.items()))
        commit = commit or hashlib.sha1(repr(content).encode(), usedforsecurity=False).hexdigest()
        self.revisions.setdefault(dataset, {})[commit] = content
        return commit

    def fetched(self) -> list[str]:
        """Return the names of the files whose contents were asked for."""
        paths = [path for method, path in self.requests if method == "GET"]
        return [
            path.partition("/resolve/")[2].partition("/")[2]
            for path in paths
            if "/resolve/" in path
        ]

    def find(self, dataset: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Return commit and files of a revision."""
        known = self.revisions[dataset]
        commit = list(known)[-1] if revision in ("main", "master") else revision
        return (commit, known[commit]) if commit in known else None

    def changed_in(self, dataset: str, commit: str, name: str) -> str:
        """Return the commit in which a file got the contents that it has in `commit`."""
        data = self.revisions[dataset][commit][name]
        of = (found for found, own in self.revisions[dataset].items() if own.get(name) == data)
        return next(of)

    def close(self) -> None:
        """Stop answering, on open connections too; clients then find no one at the address."""
        self.closed = True
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            asked = json.loads(data)
        except ValueError:
            asked = parse_qs(data.decode())
        self._answer(asked)

    def do_GET(self) -> None:
        self._answer({})

    def _answer(self, asked: dict[str, Any]) -> None:
        if self.hub.closed:
            self.close_connection = True
            return
        url = urlsplit(self.path)
        self.hub.requests.append((self.command, unquote(url.path)))
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match [unquote(part) for part in url.path.strip("/").split("/")]:
            case ["api", "datasets" | "models", owner, name, *rest]:
                self._hugging_face(f"{owner}/{name}", rest, asked, query)
            case ["datasets", owner, name, "resolve", revision, *path] | [
                owner,
                name,
                "resolve",
                revision,
                *path,
            ]:
                self._resolve(f"{owner}/{name}", revision, "/".join(path))
            case ["api", "v1", "datasets", owner, name, *rest]:
                self._modelscope(f"{owner}/{name}", rest, query)
            case _:
                self._send({"error": "nothing is here"}, 404)

    def _opened(self, dataset: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Return commit and files; answer and return None if there is nothing to be had."""
        if dataset not in self.hub.revisions or dataset in self.hub.private:
            self._send({"error": "Repository not found"}, 401, {"X-Error-Code": "RepoNotFound"})
            return None
        found = self.hub.find(dataset, revision)
        if found is None:
            self._send({"error": "no revision"}, 404, {"X-Error-Code": "RevisionNotFound"})
        return found

    def _hugging_face(
        self, dataset: str, rest: list[str], asked: dict[str, Any], query: dict[str, str]
    ) -> None:
        kind, revision = (*rest[:2], "main")[:2] if len(rest) > 1 else ("revision", "main")
        found = self._opened(dataset, revision)
        if found is None:
            return
        commit, files = found
        if kind == "revision":
            names = [{"rfilename": name} for name in files]
            self._send({"id": dataset, "sha": commit, "private": False, "siblings": names})
        elif kind == "tree":
            deep = query.get("recursive", "").lower() == "true"
            self._send(_tree(files, "/".join(rest[2:]), deep=deep))
        else:
            wanted = asked.get("paths", [])
            self._send([_entry(name, files[name]) for name in wanted if name in files])

    def _resolve(self, dataset: str, revision: str, name: str) -> None:
        if dataset in self.hub.gated:
            message = f"Access to dataset {dataset} is restricted"
            self._send({"error": message}, 403, {"X-Error-Code": "GatedRepo"})
            return
        found = self._opened(dataset, revision)
        if found is None:
            return
        commit, files = found
        if name not in files or name in self.hub.gone:
            self._send({"error": "no entry"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        self._file(name, files[name], {"X-Repo-Commit": commit})

    def _file(self, name: str, data: bytes, headers: dict[str, str]) -> None:
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        start, end = int(first or 0), min(int(last or len(data)), len(data) - 1)
        part = data[start : end + 1]
        is_part = "Range" in self.headers
        self.hub.ranges += [self.headers["Range"]] if is_part else []
        digest = hashlib.sha256(data).hexdigest()
        headers |= {"ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
        if is_part:
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
        self._head(206 if is_part else 200, len(part), headers)
        if self.command == "HEAD":
            return
        is_halted, is_cut = name in self.hub.halted, self.hub.cut.get(name, 0) > 0
        if is_halted or is_cut:
            self.hub.cut[name] = max(self.hub.cut.get(name, 0) - 1, 0)
            part = part[: len(part) // 2]
            self.close_connection = True
        self.hub.sent[name] += len(part)
        self.wfile.write(part)
        if is_halted:
            self.hub.half_sent.set()
            self.hub.go_on.wait()

    def _modelscope(self, dataset: str, rest: list[str], query: dict[str, str]) -> None:
        if dataset in self.hub.gated:
            self._send({"Code": 403, "Success": False, "Message": "no access"}, 403)
            return
        found = None
        if dataset in self.hub.revisions:
            found = self.hub.find(dataset, query.get("Revision", "master"))
        if found is None:
            self._send({"Code": 404, "Success": False, "Message": "not found"}, 404)
            return
        commit, files = found
        if rest == ["repo", "tree"]:
            commits = {name: self.hub.changed_in(dataset, commit, name) for name in files}
            dates = list(self.hub.revisions[dataset])
            rows = [
                {"Path": name, "Type": "blob", "Size": len(data), "Revision": commits[name],
                 "CommittedDate": dates.index(commits[name]),
                 "Sha256": hashlib.sha256(data).hexdigest()}
                for name, data in files.items()
            ]  # fmt: skip
            self._send({"Code": 200, "Success": True, "Data": {"Files": rows}})
        else:
            self._file(query["FilePath"], files[query["FilePath"]], {})

    def _send(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self._head(status, len(data), {"Content-Type": "application/json", **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(data)

    def _head(self, status: int, size: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(size), **headers}.items():
            self.send_header(name, value)
        self.end_headers()


def _entry(name: str, data: bytes) -> dict[str, Any]:
    oid = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    return {"type": "file", "path": name, "oid": oid, "size": len(data)}


def _tree(files: dict[str, bytes], folder: str, *, deep: bool) -> list[dict[str, Any]]:
    below = f"{folder}/" if folder else ""
    inside = {name: data for name, data in files.items() if name.startswith(below)}
    if deep:
        return [_entry(name, data) for name, data in inside.items()]
    direct = {name: data for name, data in inside.items() if "/" not in name[len(below) :]}
    folders = {
        below + name[len(below) :].partition("/")[0] for name in inside if name not in direct
    }
    rows = [{"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in folders]
    return rows + [_entry(name, data) for name, data in direct.items()]
