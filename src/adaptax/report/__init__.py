"""Reports from result files alone: no JAX, nothing of a run but what it wrote to its directory."""

from .read import read_evaluation, read_run
from .records import Evaluation, ReportError, Run
from .write import report

__all__ = ["Evaluation", "ReportError", "Run", "read_evaluation", "read_run", "report"]
