"""Checkpoints: one safetensors file holds the whole state, and a kill at any moment leaves a loadable one.

A file carries the leaves under their `keystr` paths and, as metadata, the schema version, the iteration, the
structure (path, dtype and shape of every leaf, in order), the caller's details, and a SHA-256 of the file
itself, taken with zeros where the digest stands. That place and rule never change with the schema, so that
any version can tell a damaged file from one that is only newer than itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from adaptax.types import UserError

SCHEMA = 1
_ZEROS = "0" * 64
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_BLOCK = 2**22  # bytes that are read at a time
_NAME = re.compile(r"checkpoint-(\d+)\.safetensors")


class _Leaf(NamedTuple):
    """What must agree between a checkpoint's leaf and the template's."""

    path: str
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


class _Content(NamedTuple):
    schema: int
    iteration: int
    structure: list[_Leaf]
    details: dict[str, Any]
    arrays: dict[str, np.ndarray]


def save(directory: Path, tree: Any, *, iteration: int, details: Mapping[str, Any], keep: int = 2) -> Path:
    """Write `tree` as the checkpoint of `iteration` and return its path; `details` is any JSON object.

    The file appears under its name only when all of it is on disk. The `keep` newest checkpoints stay; older
    ones are deleted after the new one is in place.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}; at least the checkpoint just written has to stay")
    path = Path(directory) / f"checkpoint-{iteration:06d}.safetensors"
    write_file(path, tree, iteration=iteration, details=details)
    with contextlib.suppress(OSError):  # an old file that cannot be deleted does no harm
        _prune(path.parent, path, keep)
    return path


def write_file(path: Path, tree: Any, *, iteration: int, details: Mapping[str, Any], what: str = "checkpoint") -> None:
    """Write `tree` under this name, which appears only when all of it is on disk; `what` it is, for complaints."""
    arrays, metadata = _encode(tree, iteration, details)
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Straight into the file, and the digest into its place there: a state may take half of the memory.
        safetensors.numpy.save_file(arrays, partial, metadata)
        with partial.open("r+b") as file:
            place, digest = _digest_of(file)
            if place is None:
                raise RuntimeError("safetensors wrote its metadata in an unexpected form")
            file.seek(place.start(1))
            file.write(digest.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync(path.parent)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):  # where the folder is the trouble
            partial.unlink(missing_ok=True)
        raise UserError(f"the {what} {path} could not be written: {getattr(error, 'strerror', '') or error}") from error


def latest(directory: Path) -> Path | None:
    """The newest checkpoint in `directory`, not yet checked for damage; None if there is none."""
    return next(iter(_newest_first(Path(directory))), None)


def restore(directory: Path, template: Any) -> tuple[Any, int, dict[str, Any]]:
    """The newest checkpoint's tree, iteration and details.

    `template` (arrays, or the `ShapeDtypeStruct`s of `jax.eval_shape`) gives the structure. Leaves come back
    bit for bit, as JAX arrays with an explicit dtype, or as NumPy arrays where the template has them. Raises
    a `UserError` if there is no checkpoint, if the newest is damaged, or if it does not fit the template.
    """
    paths = _newest_first(Path(directory))
    if not paths:
        raise UserError(f"there is no checkpoint in {directory}")
    content = _read(paths[0])
    if isinstance(content, str):
        raise UserError(f"the checkpoint {paths[0]} is damaged: {content}; {_way_out(paths)}")
    whole = f"the checkpoint {paths[0]}"
    _check_schema(whole, content)
    return _fill(whole, content, template), content.iteration, content.details


def digest(tree: Any) -> str:
    """A SHA-256 of the leaves of `tree`, to tell whether two are the same."""
    whole = hashlib.sha256()
    for _, leaf in _flatten(tree)[0]:
        whole.update(np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf).tobytes())
    return whole.hexdigest()


def read_details(path: Path, what: str = "checkpoint") -> dict[str, Any]:
    """The details that a file was written with. Raises a `UserError` if it is not there, or damaged."""
    return _read_intact(path, what).details


def read_file(path: Path, template: Any, what: str = "checkpoint") -> Any:
    """The tree in a file that `write_file` wrote; `template` and errors as in `restore`."""
    return _fill(f"the {what} {path}", _read_intact(path, what), template)


def _read_intact(path: Path, what: str) -> _Content:
    content = _read(path)
    if isinstance(content, str):
        raise UserError(f"the {what} {path} is damaged or none: {content}")
    _check_schema(f"the {what} {path}", content)
    return content


def _check_schema(whole: str, content: _Content) -> None:
    if content.schema > SCHEMA:
        raise UserError(
            f"{whole} was written by a newer adaptax (checkpoint schema {content.schema}; "
            f"this one reads up to {SCHEMA}): upgrade adaptax to load it"
        )


def _fill(whole: str, content: _Content, template: Any) -> Any:
    """The template's tree with the content's leaves."""
    named, treedef = _flatten(template)
    _check_fit(whole, content.structure, [_describe(name, leaf) for name, leaf in named])
    return jax.tree.unflatten(treedef, [_like(leaf, content.arrays[name]) for name, leaf in named])


def _flatten(tree: Any) -> tuple[list[tuple[str, Any]], Any]:
    flat, treedef = jax.tree_util.tree_flatten_with_path(tree)
    named = [(jax.tree_util.keystr(path), leaf) for path, leaf in flat]
    if len({name for name, _ in named}) < len(named):
        raise ValueError("two leaves of this tree have the same path")
    return named, treedef


def _is_key(leaf: Any) -> bool:
    array = isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct))
    return array and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _describe(name: str, leaf: Any) -> _Leaf:
    if not isinstance(leaf, (jax.Array, np.ndarray, jax.ShapeDtypeStruct)):
        leaf = np.asarray(leaf)
    return _Leaf(name, str(leaf.dtype), tuple(leaf.shape))


def _encode(tree: Any, iteration: int, details: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a file, with zeros for its digest."""
    named, _ = _flatten(tree)
    raw = jax.device_get([jax.random.key_data(leaf) if _is_key(leaf) else leaf for _, leaf in named])
    # safetensors writes the buffer as it lies, so it has to lie in C order.
    arrays = {name: np.asarray(leaf, order="C") for (name, _), leaf in zip(named, raw, strict=True)}
    return arrays, {
        "sha256": _ZEROS,
        "schema": str(SCHEMA),
        "iteration": str(iteration),
        "structure": json.dumps([_describe(name, leaf) for name, leaf in named]),
        "details": json.dumps(dict(details)),
    }


def _digest_of(file: BinaryIO) -> tuple[re.Match[bytes] | None, str]:
    """Where the digest stands in the file, or should, and what it has to be: taken with zeros in that place."""
    head = _head(file)
    # Quotes inside other strings are escaped, so it stands nowhere else.
    place = _DIGEST.search(head, 8)
    if place is None:
        return None, ""
    digest = hashlib.sha256(head[: place.start(1)] + _ZEROS.encode() + head[place.end(1) :])
    while block := file.read(_BLOCK):
        digest.update(block)
    return place, digest.hexdigest()


def _head(file: BinaryIO) -> bytes:
    """The length of the header, 8 bytes, and the header, as much of it as there is."""
    file.seek(0)
    length = file.read(8)
    there = os.fstat(file.fileno()).st_size
    return length + file.read(min(int.from_bytes(length, "little"), there))


def _read(path: Path) -> _Content | str:
    """A checkpoint's content, or what is wrong with the file."""
    try:
        with path.open("rb") as file:
            place, digest = _digest_of(file)
            head = _head(file)
        if place is None:
            return f"its header is cut off or unreadable (the file has {path.stat().st_size} bytes)"
        if digest.encode() != place[1]:
            return "its content does not match its SHA-256"
        metadata = json.loads(head[8:])["__metadata__"]
        schema = int(metadata["schema"])
        if schema > SCHEMA:
            return _Content(schema, 0, [], {}, {})
        structure = [_Leaf(name, dtype, tuple(shape)) for name, dtype, shape in json.loads(metadata["structure"])]
        details = json.loads(metadata["details"])
        return _Content(schema, int(metadata["iteration"]), structure, details, safetensors.numpy.load_file(path))
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        return f"its header does not make sense ({error})"


def _way_out(paths: list[Path]) -> str:
    for path in paths[1:]:
        if not isinstance(_read(path), str):
            return f"delete it to go on from {path.name}"
    return "there is no earlier one that is intact, so the run has to start anew"


def _check_fit(whole: str, there: list[_Leaf], here: list[_Leaf]) -> None:
    """Raise a `UserError` that names the first leaf in which the checkpoint and the template differ."""
    stored = {leaf.path: leaf for leaf in there}
    difference = ""
    for wanted in here:
        found = stored.pop(wanted.path, None)
        if found is None:
            difference = f"it lacks {wanted.path or 'the only leaf'}, {wanted} here"
        elif found != wanted:
            difference = f"{wanted.path or 'the only leaf'} is {found} there and {wanted} here"
        if difference:
            break
    else:
        if stored:
            extra = next(iter(stored.values()))
            difference = f"it holds {extra.path or 'a single leaf'}, {extra}, which has no place here"
    if difference:
        raise UserError(f"{whole} belongs to other hyper-parameters: {difference}")


def _like(leaf: Any, stored: np.ndarray) -> Any:
    if _is_key(leaf):
        # A ShapeDtypeStruct has the key's dtype but cannot be asked for its implementation.
        impl = jax.random.key_impl(jnp.empty((), leaf.dtype))
        return jax.random.wrap_key_data(jnp.array(stored), impl=impl)
    if isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct)):
        # A copy: the array must not alias a buffer of NumPy's, or it could not be donated.
        return jnp.array(stored, stored.dtype, copy=True)
    return stored.copy()


def _newest_first(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    named = [(_NAME.fullmatch(path.name), path) for path in directory.iterdir()]
    return [path for _, path in sorted(((int(name[1]), path) for name, path in named if name), reverse=True)]


def _prune(directory: Path, written: Path, keep: int) -> None:
    older = [path for path in _newest_first(directory) if path != written]
    for path in older[keep - 1 :]:
        path.unlink(missing_ok=True)
    for path in directory.glob(".checkpoint-*.partial"):  # what a kill in the middle of a save left behind
        path.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    """Make the new name durable too: a file system may keep a rename in memory."""
    if os.name == "nt":  # Windows cannot open a directory
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
