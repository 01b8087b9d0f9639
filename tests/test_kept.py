"""The folder of compiled programs: entries are whole, and it does not grow without end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from jax._src.lru_cache import LRUCache
from kept import forget


def test_an_entry_appears_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, write, seen = LRUCache(str(tmp_path), max_size=-1), Path.write_bytes, []

    def slowly(path: Path, value: bytes) -> int:
        write(path, value[:2])
        seen.append(cache.get("key"))  # another process, meanwhile
        return write(path, value)

    monkeypatch.setattr(Path, "write_bytes", slowly)
    cache.put("key", b"value")
    assert seen == [None]
    assert cache.get("key") == b"value"
    assert [file.name for file in tmp_path.iterdir()] == ["key-cache"]


def test_what_was_not_used_for_longest_goes(tmp_path: Path) -> None:
    for name, used in (("older", 1), ("newest", 3), ("newer", 2)):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (used, used))
    forget(tmp_path, 25)
    assert {file.name for file in tmp_path.iterdir()} == {"newer", "newest"}
    forget(tmp_path / "none yet", 25)
