"""Read a run directory: `config.json`, `metrics.jsonl`, `evaluation-<split>.json` with its `.npz`."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .records import Evaluation, Floats, Published, Reference, ReportError, Run


def read_run(path: Path | str) -> Run:
    """Everything that reports need of one run directory; no evaluation is no error, no config is one."""
    path = Path(path)
    if not path.is_dir():
        raise ReportError(f"{path} is not a directory; reports are made of run directories, as `train` writes them")
    if not (path / "config.json").is_file():
        raise ReportError(f"{path} is not a run directory: it has no config.json")
    config = read_json(path / "config.json")
    return Run(
        path=path,
        algorithm=str(_need(config, "algorithm", path / "config.json")),
        benchmark=str(_need(config, "benchmark", path / "config.json")),
        benchmark_settings=config.get("benchmark_settings") or {},
        hyperparameters=config.get("hyperparameters") or {},
        config=config,
        metrics=read_metrics(path / "metrics.jsonl"),
        evaluations=tuple(read_evaluation(p) for p in sorted(path.glob("evaluation-*.json"))),
    )


def read_metrics(path: Path) -> dict[str, Floats]:
    """The columns of `metrics.jsonl`, each [L, S] in float64; null is NaN; no file is no rows.

    A row that was being written when the run was killed is skipped; when a resumed run wrote an iteration
    again, the later row counts.
    """
    rows: dict[Any, dict[str, Any]] = {}
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines() if path.is_file() else []):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict):
            rows[row.get("iteration", f"line {number}")] = row
    ordered = sorted(rows.values(), key=lambda row: row.get("environment_steps") or 0)
    names = dict.fromkeys(name for row in ordered for name in row)
    columns = {name: _column([row.get(name) for row in ordered]) for name in names}
    return {name: column for name, column in columns.items() if column is not None}


def read_evaluation(path: Path | str) -> Evaluation:
    """One `evaluation-<split>.json` and the arrays it names."""
    path = Path(path)
    data = read_json(path)
    return evaluation_of(data, _arrays(path.parent / str(data.get("arrays", path.with_suffix(".npz").name))), path)


def evaluation_of(data: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], path: Path) -> Evaluation:
    """What `path` holds, from its JSON object and its arrays."""
    if "returns" not in arrays or arrays["returns"].ndim != 5:
        raise ReportError(f"{path} has no returns with the axes seeds, tasks, rounds, streams, episodes")
    first = arrays.get("trajectories_first")
    return Evaluation(
        algorithm=str(_need(data, "algorithm", path)),
        benchmark=str(_need(data, "benchmark", path)),
        benchmark_settings=data.get("benchmark_settings") or {},
        split=str(data.get("split", path.stem.removeprefix("evaluation-"))),
        seeds=tuple(data.get("seeds") or range(arrays["returns"].shape[0])),
        environment_steps=data.get("environment_steps"),
        unit=str(data.get("unit") or "episode return"),
        round_labels=tuple(data.get("round_labels") or ()),
        references=tuple(_reference(r) for r in data.get("references") or ()),
        published=tuple(_published(p) for p in data.get("published") or ()),
        command=str(data.get("command", "")),
        returns=arrays["returns"].astype(np.float64),
        success=arrays["success"].astype(np.float64) if "success" in arrays else None,
        task={k.removeprefix("task_"): v for k, v in arrays.items() if k.startswith("task_")},
        trajectories=arrays["trajectories"].astype(np.float64) if "trajectories" in arrays else None,
        trajectories_first=None if first is None else first.astype(bool),
        entropy=arrays["entropy"].astype(np.float64) if "entropy" in arrays else None,
        beliefs=arrays["beliefs"].astype(np.float64) if "beliefs" in arrays else None,
        beliefs_lowest=arrays["beliefs_lowest"].astype(np.float64) if "beliefs_lowest" in arrays else None,
        final_success=arrays["final_success"].astype(np.float64) if "final_success" in arrays else None,
        diverged=arrays["diverged"].astype(bool) if "diverged" in arrays else None,
        judged_by_success=bool(data.get("judged_by_success", False)),
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, or a `ReportError` that says which file is wrong."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ReportError(f"there is no file {path}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"{path} is not valid JSON ({error})") from None
    if not isinstance(data, dict):
        raise ReportError(f"{path} does not hold a JSON object")
    return data


def _need(data: Mapping[str, Any], name: str, path: Path) -> Any:
    if name not in data:
        raise ReportError(f"{path} has no field {name!r}")
    return data[name]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        raise ReportError(f"there is no file {path}, which holds the arrays of an evaluation") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ReportError(f"{path} cannot be read as arrays ({error})") from None


def _column(values: Sequence[Any]) -> Floats | None:
    """One metric over the rows as [L, S]; None when it is not made of numbers."""
    lists = [value if isinstance(value, list) else [value] for value in values]
    width = max(len(value) for value in lists)
    try:  # a null, or a row that lacks the metric, is NaN for every seed
        return np.array([value if len(value) == width else [None] * width for value in lists], np.float64)
    except (TypeError, ValueError):
        return None


def _floats(values: Any) -> Floats:
    return np.atleast_1d(np.asarray([] if values is None else values, np.float64))


def _reference(data: Mapping[str, Any]) -> Reference:
    mean, sem, success = (_floats(data.get(name)) for name in ("mean", "sem", "success"))
    return Reference(
        name=str(data.get("name", "")),
        mean=mean,
        total=data.get("total"),
        sem=sem if sem.size else None,
        success=success if success.size else None,
        best=bool(data.get("best", False)),
        source=str(data.get("source") or ""),
    )


def _published(data: Mapping[str, Any]) -> Published:
    by_round = tuple(map(float, data.get("by_round") or ()))
    return Published(str(data.get("name", "")), data.get("total"), by_round, str(data.get("source") or ""))
