"""Replies that outlive the process: a SQLite file, committed as replies come in."""

from __future__ import annotations

import hashlib
import json
import queue
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import RerankBenchError
from ..types import AnyRequest, Reply

REPLY_FORMAT = 2
COMMIT_REPLIES = 256
COMMIT_SECONDS = 4.0  # under the five that are promised, which leaves a second for the commit
_SIMPLE = frozenset({str, int, float, bool, type(None)})
_encode = json.JSONEncoder().encode
_encode_unicode = json.JSONEncoder(ensure_ascii=False).encode
_LOOKUP = 500  # below SQLite's oldest limit of 999 variables in one statement


class ReplyCache:
    """Replies by request, in `folder/replies.sqlite`; leaving its context commits and closes it.

    A writer thread commits every 256 replies, or when the oldest is 4 seconds old, whichever comes
    first: a process killed at any moment loses no more than that. Several processes may share a
    folder. Raises RerankBenchError where the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "replies.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._reader = self._connect()
        except (OSError, sqlite3.Error) as error:
            raise RerankBenchError(f"the cache {self.path} cannot be opened: {error}") from error
        self._waiting: queue.SimpleQueue[tuple[bytes, str] | threading.Event | None]
        self._waiting = queue.SimpleQueue()
        self._uncommitted: dict[bytes, str] = {}
        self._broken: Exception | None = None
        self._writer = threading.Thread(target=self._write, name="reply-cache", daemon=True)
        self._writer.start()

    def __enter__(self) -> ReplyCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """Return the stored replies, still encoded, of those `keys` that have one."""
        found = {key: text for key in keys if (text := self._uncommitted.get(key)) is not None}
        for start in range(0, len(keys), _LOOKUP):
            part = keys[start : start + _LOOKUP]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, reply FROM replies WHERE key IN ({marks})"  # noqa: S608
            found.update(self._reader.execute(query, part))
        return found

    def put(self, key: bytes, reply: Reply) -> None:
        """Store a reply; it is on its way to the disk when this returns."""
        self._check()
        text = encode(reply)
        self._uncommitted[key] = text
        self._waiting.put((key, text))

    def flush(self) -> None:
        """Wait until everything put so far is committed."""
        done = threading.Event()
        self._waiting.put(done)
        while not done.wait(0.2) and self._writer.is_alive():
            pass
        self._check()

    def close(self) -> None:
        """Commit what waits and close the file."""
        self._waiting.put(None)
        self._writer.join()
        self._reader.close()
        self._check()

    def _check(self) -> None:
        if self._broken is not None:
            raise RerankBenchError(f"the cache {self.path} cannot be written: {self._broken}")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=60)
        connection.execute("PRAGMA journal_mode=WAL")
        # A commit need not outlive a power cut, only the process; WAL keeps the file whole.
        connection.execute("PRAGMA synchronous=NORMAL")
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS replies (key BLOB PRIMARY KEY, reply TEXT NOT NULL)"
                " WITHOUT ROWID"
            )
        return connection

    def _write(self) -> None:
        try:
            connection = self._connect()
            while self._commit_batch(connection):
                pass
            connection.close()
        except sqlite3.Error as error:
            self._broken = error

    def _commit_batch(self, connection: sqlite3.Connection) -> bool:
        """Collect one batch and commit it; return False once the cache is closed."""
        rows: list[tuple[bytes, str]] = []
        signal: threading.Event | None = None
        open_ = True
        deadline: float | None = None
        while open_ and signal is None and len(rows) < COMMIT_REPLIES:
            try:
                wait = None if deadline is None else max(deadline - time.monotonic(), 0)
                item = self._waiting.get(timeout=wait)
            except queue.Empty:
                break
            if item is None:
                open_ = False
            elif isinstance(item, threading.Event):
                signal = item
            else:
                rows.append(item)
                deadline = deadline or time.monotonic() + COMMIT_SECONDS
        with connection:
            connection.executemany("INSERT OR REPLACE INTO replies VALUES (?, ?)", rows)
        for key, _ in rows:
            self._uncommitted.pop(key, None)
        if signal is not None:
            signal.set()
        return open_


class Keys:
    """Makes cache keys: sha256 of what the engine is and what it is asked."""

    def __init__(self, identity: Mapping[str, str]) -> None:
        head = _encode_unicode([REPLY_FORMAT, sorted(identity.items())])
        self._head = hashlib.sha256(head.encode("utf-8", "surrogatepass"))

    def of(self, requests: Iterable[AnyRequest]) -> list[bytes]:
        """Return one key of 32 bytes per request."""
        return [self._key(request) for request in requests]

    def _key(self, request: AnyRequest) -> bytes:
        digest = self._head.copy()
        kind = type(request)
        text = _encode_unicode([kind.__module__, kind.__qualname__, _plain(request)])
        digest.update(text.encode("utf-8", "surrogatepass"))
        return digest.digest()


def encode(reply: Reply) -> str:
    """Write a reply as JSON; floats keep every bit."""
    return _encode(_plain(reply))


def decode(text: str, request: AnyRequest) -> Reply:
    """Read the reply to `request` back from what `encode` wrote."""
    reply: Reply = request.reply(*(_thing(part) for part in json.loads(text)))
    return reply


def _plain(value: Any) -> Any:
    """Turn a frozen value into what JSON can hold; fields keep their order."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    kind = type(value)
    if is_dataclass(kind):
        return _plain_list([getattr(value, name) for name in _field_names(kind)])
    if isinstance(value, (list, tuple)):
        return _plain_list(value)
    if isinstance(value, Mapping):
        return {"pairs": [_plain_list(pair) for pair in value.items()]}
    raise TypeError(f"the cache cannot store a {kind.__name__}: replies hold numbers, texts, None")


def _plain_list(values: Iterable[Any]) -> list[Any]:
    return [v if type(v) in _SIMPLE else _plain(v) for v in values]


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _thing(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_thing(item) for item in value)
    if isinstance(value, dict):
        return {_thing(k): _thing(v) for k, v in value["pairs"]}
    return value
