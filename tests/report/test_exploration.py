"""Entropy, coverage and first success along the adaptation curve, on files whose numbers are known by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from report import synthetic

from adaptax.report.exploration import (
    coverage,
    exploration_curves,
    exploration_table,
    exploration_text,
    first_success,
)
from adaptax.report.read import read_evaluation, read_run
from adaptax.report.records import Evaluation
from adaptax.report.trajectories import drawable, panel_of


def evaluation_of(path: Path, returns: np.ndarray, **fields: Any) -> Evaluation:
    synthetic.write_config(path, "maml", "navigation", {}, returns.shape[0])
    synthetic.write_evaluation(path, "test", returns, **fields)
    return read_evaluation(path / "evaluation-test.json")


def walks(*rounds: list[list[Any]], first: tuple[int, ...] = (0,)) -> dict[str, np.ndarray]:
    """The observations of one seed on one task, rounds × streams × steps; an episode begins at each of `first`."""
    paths = np.array(rounds, np.float32)
    paths = paths[None, None] if paths.ndim == 4 else paths[None, None, ..., None]
    begins = np.zeros(paths.shape[:-1], bool)
    begins[..., list(first)] = True
    return {"trajectories": paths, "trajectories_first": begins}


def test_streams_cover_together_what_any_of_them_visits(tmp_path):
    """The rectangle is [0, 20]², so that a cell is a unit square; the point on its upper edge is in the last cell."""
    apart = [[[0.5, 0.5], [0.9, 0.1], [1.5, 0.5]], [[0, 0.5], [0.5, 20], [19.5, 19.5]]]
    same = [[[0, 0], [20, 0.5], [20, 0.9]], [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]]
    evaluation = evaluation_of(tmp_path, np.zeros((1, 1, 2, 2, 1)), **walks(apart, same))
    found = coverage([evaluation])
    assert found is not None and (found.tasks, found.streams, found.entries, found.whole) == (1, 2, 2, False)
    np.testing.assert_array_equal(found.curves[0], [[[4, 2]]])  # (0, 0), (1, 0), (0, 19), (19, 19); (0, 0), (19, 0)


def test_whole_numbers_are_cells_and_what_does_not_count_is_left_out(tmp_path):
    """One stream, two episodes that count and the beginning of a third, which does not; states 0 to 90."""
    states = walks([[3, 3, 4, 90, 90, 0, 7]], first=(0, 3, 5))
    evaluation = evaluation_of(tmp_path, np.zeros((1, 1, 1, 1, 2)), **states)
    found = coverage([evaluation])
    assert found is not None and found.whole and found.entries == 1
    np.testing.assert_array_equal(found.curves[0], [[[2, 1]]])
    assert "one stream visits in one episode" in exploration_text([evaluation])


def test_evaluations_share_cells_and_number_of_streams(tmp_path):
    """Alone, each fills its own rectangle; together, the second stands in one cell of the first's."""
    wide = evaluation_of(tmp_path / "a", np.zeros((1, 1, 1, 2, 2)), **walks([[0.0, 100.5], [9.0, 9.0]], first=(0, 1)))
    near = evaluation_of(tmp_path / "b", np.zeros((1, 1, 1, 1, 1)), **walks([[0.0, 0.5]]))
    alone, both = coverage([near]), coverage([wide, near])
    assert alone is not None and both is not None
    np.testing.assert_array_equal(alone.curves[0], [[[2]]])
    assert both.streams == 1
    np.testing.assert_array_equal(both.curves[0], [[[1, 1]]])
    np.testing.assert_array_equal(both.curves[1], [[[1]]])


def test_nothing_is_covered_where_nothing_moves_or_nothing_was_kept(tmp_path):
    still = evaluation_of(tmp_path / "a", np.zeros((1, 1, 1, 1, 1)), **walks([[1.0, 1.0]]))
    bare = evaluation_of(tmp_path / "b", np.zeros((1, 1, 1, 1, 1)))
    lost = evaluation_of(tmp_path / "c", np.zeros((1, 1, 1, 1, 1)), **walks([[0.0, 1.0, np.nan]]))
    assert coverage([still]) is None and coverage([bare]) is None
    found = coverage([lost, bare])
    assert found is not None and found.curves[1] is None
    np.testing.assert_array_equal(found.curves[0], [[[2]]])


def solving() -> np.ndarray:
    """Success [1, 4, 2, 2, 2] of four tasks at four points: at once, in the second round's first episode by one
    stream, never, and at the last point."""
    success = np.zeros((1, 4, 2, 2, 2), np.float32)
    success[0, 0] = 1
    success[0, 1, 1, 1, 0] = success[0, 1, 1, 0, 1] = success[0, 3, 1, 0, 1] = 1
    return success


def test_first_success(tmp_path):
    evaluation = evaluation_of(tmp_path, np.zeros((1, 4, 2, 2, 2)), success=solving())
    np.testing.assert_array_equal(first_success(evaluation), [[0, 2, 4, 3]])


def test_table_of_a_file(tmp_path):
    entropy = np.broadcast_to(np.array([3.0, 1.0, 0.5, -0.5]).reshape(1, 1, 2, 1, 2), (1, 4, 2, 2, 2))
    evaluation = evaluation_of(
        tmp_path, np.ones((1, 4, 2, 2, 2)), success=solving(), entropy=entropy.astype(np.float32),
        **walks([[0, 1, 2]] * 2, [[0, 0, 0]] * 2, first=(0, 2)),
    )  # fmt: skip
    table = exploration_table([evaluation])
    assert table is not None
    assert table.header[1:3] == ("before adaptation, episode 1", "before adaptation, episode 2")
    assert table.header[-1] == "never"
    rows = {row[0]: [cell.partition(" ")[0] for cell in row[1:]] for row in table.rows}
    assert rows == {
        "return": ["1.000"] * 4 + ["–"],
        "entropy, nats": ["3.000", "1.000", "0.5000", "−0.5000", "–"],
        "coverage, cells": ["2.000", "1.000", "1.000", "1.000", "–"],
        "first solved, % of tasks": ["25", "0", "25", "25", "25"],
    }
    shortened = exploration_table([evaluation], limit=2)  # what was solved between counts at the last point
    assert shortened is not None and [c.partition(" ")[0] for c in shortened.rows[-1][1:]] == ["25", "50", "25"]
    text = exploration_text([evaluation], limit=2)
    assert "2 streams of one task" in text and "since the column before" in text
    figure = exploration_curves([evaluation])
    assert figure is not None
    titles = ["episode return", "policy entropy, nats", "coverage, cells visited", "tasks solved so far, %"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == titles
    line = next(line for line in figure.axes[3].get_lines() if line.get_label() == "agent 0")
    np.testing.assert_array_equal(line.get_xydata(), [[0, 25], [1, 25], [2, 50], [3, 75]])


def test_files_written_before_these_arrays_show_what_they_hold(tmp_path):
    evaluation = read_run(synthetic.navigation_run(tmp_path / "a")).evaluations[0]
    assert evaluation.entropy is None and evaluation.entropy_curve() is None
    table = exploration_table([evaluation])
    assert table is not None and [row[0] for row in table.rows] == ["return", "coverage, cells"]
    assert "Entropy" not in exploration_text([evaluation]) and "First solved" not in exploration_text([evaluation])
    unknown = evaluation_of(tmp_path / "b", np.zeros((1, 2, 2, 1, 1)), entropy=np.full((1, 2, 2, 1, 1), np.nan))
    assert unknown.entropy is not None and unknown.entropy_curve() is None
    assert exploration_table([unknown]) is None and exploration_curves([unknown]) is None


def test_one_point_shows_no_change(tmp_path):
    evaluation = evaluation_of(tmp_path, np.zeros((1, 2, 1, 1, 1)), entropy=np.ones((1, 2, 1, 1, 1)))
    assert exploration_table([evaluation]) is None and exploration_curves([evaluation]) is None


def test_two_agents_are_told_apart(tmp_path):
    runs = [synthetic.navigation_run(tmp_path / "a"), synthetic.navigation_run(tmp_path / "b", name="promp")]
    evaluations = [read_run(run).evaluations[0] for run in runs]
    table = exploration_table(evaluations)
    assert table is not None
    assert [row[0] for row in table.rows] == [
        "maml: return", "maml: coverage, cells", "promp: return", "promp: coverage, cells",
    ]  # fmt: skip
    figure = exploration_curves(evaluations)
    assert figure is not None and [text.get_text() for text in figure.legends[0].get_texts()] == ["maml", "promp"]


def test_paths_are_drawn_of_a_position_with_its_velocity(tmp_path):
    """Momentum-corner observes both; an observation of another size may begin with anything."""
    goal = np.array([[2.0, -2.0]], np.float32)
    steps = [[0.0, 0.1, 5, 5], [0.2, 0.3, 6, 6]]
    four = evaluation_of(tmp_path / "a", np.zeros((1, 1, 1, 1, 1)), task_goal=goal, **walks([steps]))
    assert drawable(four)
    panel = panel_of(four, 0, 0)
    np.testing.assert_allclose(panel.paths[0], [[0.0, 0.1], [0.2, 0.3]], rtol=1e-6)
    assert panel.frame[1].max() < 4  # the velocities are no places
    five = evaluation_of(tmp_path / "b", np.zeros((1, 1, 1, 1, 1)), task_goal=goal, **walks([[s + [1] for s in steps]]))
    assert not drawable(five)
