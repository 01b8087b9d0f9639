"""Rhythms for robots that run along a line, found by `benchmarks/gaits.py`."""

from __future__ import annotations

from adaptax.strategies.gaits import Rhythm

SECONDS = 0.05  # of a step, for half-cheetah and ant
CHEETAH = {
    "forwards": Rhythm(
        4.124,
        (0.938, 2.234, 1.254, 1.214, 1.281, 0.933),
        (-0.878, 1.076, -1.604, 1.773, 2.096, 0.075),
        (0.689, 0.096, -0.126, -0.568, -0.051, 0.378),
    ),
    "backwards": Rhythm(
        4.298,
        (1.125, 0.427, 0.242, 1.914, 1.576, 1.893),
        (0.951, 2.141, -0.117, -1.748, 0.585, 0.188),
        (0.373, 0.709, -0.008, -0.133, -0.200, -0.265),
    ),
}
