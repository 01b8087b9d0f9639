"""The folder in which compiled programs are kept between sessions, shared by processes that write at once."""

from __future__ import annotations

import os
from pathlib import Path

from jax._src.lru_cache import LRUCache


def put_whole(cache: LRUCache, key: str, value: bytes) -> None:
    """A cache's `put` whose entry appears at once: JAX's own is seen, half written, by whoever reads meanwhile."""
    folder = Path(str(cache.path))
    partial = folder / f"{key}.{os.getpid()}"
    partial.write_bytes(value)
    partial.replace(folder / f"{key}-cache")


def forget(folder: Path, most: int) -> None:
    """Delete what was not used for longest, until the files are `most` bytes together."""
    files = [(file, file.stat()) for file in folder.iterdir()] if folder.is_dir() else []
    left = most
    for file, stat in sorted(files, key=lambda pair: max(pair[1].st_atime, pair[1].st_mtime), reverse=True):
        left -= stat.st_size
        if left < 0:
            file.unlink(missing_ok=True)
