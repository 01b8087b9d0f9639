"""The command line: list · train · evaluate · report · adapt · render · bench.

Exit codes: 0 done, 2 bad input (one line on stderr says what is wrong and what would be right), 130 stopped
by Ctrl-C. Results go to stdout; progress and complaints to stderr.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from ..report import ReportError
from ..types import UserError
from .catalogue import list_command
from .evaluate import adapt_command, evaluate_command, report_command
from .measure import bench_command
from .render import render_command
from .train import train_command

COMMANDS: dict[str, tuple[Callable[[list[str]], int], str, str]] = {
    "list": (list_command, "[--json]", "algorithms, benchmarks, networks and reference strategies"),
    "train": (train_command, "ALGORITHM BENCHMARK [options]", "meta-train, then evaluate on held-out tasks"),
    "evaluate": (evaluate_command, "RUN [options]", "evaluate a trained agent on held-out tasks again"),
    "report": (report_command, "RUN... [--out DIR]", "tables and figures from the files of runs"),
    "adapt": (adapt_command, "RUN --task JSON [options]", "let a trained agent adapt to one task of yours"),
    "render": (render_command, "RUN --out FILE [--task N]", "an animation of a trained agent as it adapts"),
    "bench": (bench_command, "[ALGORITHM BENCHMARK] [options]", "environment steps per second of the parts"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if not words or words[0] in ("-h", "--help"):
            print(_help())
            return 0 if words else 2
        if words[0] == "--version":
            from .. import __version__

            print(f"adaptax {__version__}")
            return 0
        if words[0] not in COMMANDS:
            near = difflib.get_close_matches(words[0], COMMANDS, n=1) or [", ".join(COMMANDS)]
            raise UserError(f"there is no command {words[0]!r}; did you mean {near[0]}?")
        _keep_compiled()
        return COMMANDS[words[0]][0](words[1:])
    except (UserError, ReportError) as error:
        from ..run.train import Diverged

        return _complain(str(error), 1 if isinstance(error, Diverged) else 2)
    except BrokenPipeError:  # `adaptax list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OSError as error:
        if error.filename is None:
            raise
        return _complain(f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except SystemExit as exit:  # tyro: 0 after --help, 2 after it said what is wrong
        return exit.code if isinstance(exit.code, int) else 2


def _complain(what: str, code: int = 2) -> int:
    print(f"adaptax: {what}", file=sys.stderr, flush=True)
    return code


def _help() -> str:
    usages = {name: f"{name} {usage}" for name, (_, usage, _) in COMMANDS.items()}
    width = max(map(len, usages.values()))
    lines = [f"  adaptax {usages[name]:<{width}}  {line}" for name, (_, _, line) in COMMANDS.items()]
    return "\n".join(
        [
            "Meta-reinforcement learning on JAX: train agents that learn to learn, evaluate them on new tasks.",
            "",
            *lines,
            "",
            "`adaptax COMMAND --help` explains a command, `adaptax train rl2 bandit --help` all settings.",
            "Try: adaptax train rl2 bandit --benchmark.arms 5 --benchmark.pulls 10 --iterations 200",
        ]
    )


def _keep_compiled() -> None:
    """Keep compiled programs between runs: in $ADAPTAX_CACHE (empty: nowhere), or ~/.cache/adaptax/xla."""
    place = os.environ.get("ADAPTAX_CACHE", str(Path.home() / ".cache" / "adaptax" / "xla"))
    if place:
        jax.config.update("jax_compilation_cache_dir", place)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
