import dataclasses
import itertools
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread
from report import synthetic

from adaptax.report.beliefs import beliefs, shown_steps
from adaptax.report.figures import (
    adaptation_curve,
    learning_curve,
    reference_level,
    return_unit,
    training_rounds,
)
from adaptax.report.read import read_run
from adaptax.report.style import DPI, HEIGHT, SETTINGS, WIDTH, save, spread
from adaptax.report.trajectories import panel_of, trajectories


def names(axes):
    return [line.get_label() for line in axes.get_lines()]


def texts(axes):
    return {text.get_text().replace("\n", " "): text for text in axes.texts}


def assert_labels_apart(figure):
    """No two labels overlap, and none leaves the figure."""
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    for a, b in itertools.combinations(boxes, 2):
        assert not a.overlaps(b)
    width, height = figure.canvas.get_width_height()
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width + 0.5 and box.y1 <= height


def test_learning_curve_of_a_recurrent_agent(tmp_path):
    run = read_run(synthetic.bandit_run(tmp_path / "run"))
    figure = learning_curve([run])
    assert figure is not None
    axes = figure.axes[0]
    assert names(axes).count("_seed") == 3
    mean = next(line for line in axes.get_lines() if line.get_label() == "rl2")
    np.testing.assert_allclose(mean.get_ydata(), run.metrics["return"].mean(1))
    gittins = next(line for line in axes.get_lines() if line.get_label() == "Gittins")
    assert list(gittins.get_ydata()) == [6.6, 6.6]  # the total per trial
    assert "RL² paper: 6.7" in texts(axes) and axes.get_legend() is None
    assert axes.get_ylabel() == "return per trial" and axes.get_xlabel().startswith("environment steps per seed")
    figure.canvas.draw()
    assert "1\u00a0M" in [label.get_text() for label in axes.get_xticklabels()]
    assert_labels_apart(figure)


def test_learning_curve_of_a_gradient_agent(tmp_path):
    run = read_run(synthetic.navigation_run(tmp_path / "run"))
    assert training_rounds(run) == 2 and return_unit(run) == "return per episode"
    figure = learning_curve([run])
    assert figure is not None
    labels = texts(figure.axes[0])
    # two rounds in training, so the published figure beside the curve is the one after one step
    assert {"maml, after adaptation", "maml, before adaptation", "MAML paper: −11.7"} <= set(labels)
    assert_labels_apart(figure)


def test_a_run_may_say_that_its_return_is_by_episode(tmp_path):
    path = synthetic.bandit_run(tmp_path / "run")
    config = (path / "config.json").read_text()
    (path / "config.json").write_text(config.replace('"seed":', '"return_unit": "episode", "seed":'))
    run = read_run(path)
    assert reference_level(run, [], 6.7) == pytest.approx(0.67)
    assert reference_level(run, [0.5] * 10, None) == pytest.approx(0.5)


def test_runs_without_rows_have_no_learning_curve(tmp_path):
    synthetic.write_config(tmp_path, "rl2", "bandit", {})
    assert learning_curve([read_run(tmp_path)]) is None


def test_what_was_not_logged_at_every_line_is_drawn_from_where_it_was(tmp_path):
    synthetic.write_config(tmp_path, "maml", "navigation", {}, 1)
    rows = [{"iteration": k, "environment_steps": k, "return": None if k % 2 else float(k)} for k in range(5)]
    synthetic.write_metrics(tmp_path, rows)
    figure = learning_curve([read_run(tmp_path)])
    assert figure is not None
    line = next(line for line in figure.axes[0].get_lines() if line.get_label() == "maml")
    np.testing.assert_array_equal(line.get_xydata(), [[0, 0], [2, 2], [4, 4]])


def test_adaptation_curves_are_overlaid_with_bands(tmp_path):
    runs = [
        read_run(synthetic.bandit_run(tmp_path / "a", name="rl2")),
        read_run(synthetic.bandit_run(tmp_path / "b", name="varibad", shift=-0.5)),
    ]
    evaluations = [run.evaluations[0] for run in runs]
    figure = adaptation_curve(evaluations)
    assert figure is not None
    axes = figure.axes[0]
    assert len(axes.collections) == 2  # a band each
    assert {"rl2", "varibad", "Gittins", "greedy"} <= set(texts(axes))
    line = next(line for line in axes.get_lines() if line.get_label() == "varibad")
    np.testing.assert_allclose(line.get_ydata(), evaluations[1].returns.mean((0, 1, 2, 3)))
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 11))
    assert_labels_apart(figure)


def test_published_figures_by_round_are_in_the_adaptation_curve(tmp_path):
    figure = adaptation_curve(read_run(synthetic.navigation_run(tmp_path / "run")).evaluations)
    assert figure is not None
    line = next(line for line in figure.axes[0].get_lines() if line.get_label() == "MAML paper")
    np.testing.assert_array_equal(line.get_xydata(), [[0, -40.4], [1, -11.7], [2, -3.3], [3, -3.2]])
    assert_labels_apart(figure)


def test_one_point_makes_no_adaptation_curve(tmp_path):
    synthetic.write_config(tmp_path, "rl2", "bandit", {}, 1)
    synthetic.write_evaluation(tmp_path, "test", np.zeros((1, 3, 1, 2, 1)))
    run = read_run(tmp_path)
    assert adaptation_curve(run.evaluations) is None and trajectories(run.evaluations[0]) is None


def test_trajectories_in_the_plane(tmp_path):
    evaluation = read_run(synthetic.navigation_run(tmp_path / "run")).evaluations[0]
    figure = trajectories(evaluation)
    assert figure is not None and len(figure.axes) == 16  # four of the five tasks, four rounds
    assert names(figure.axes[0]).count("path") == 3 and names(figure.axes[0]).count("goal") == 1
    panel = panel_of(evaluation, 2, 1)
    assert not panel.cells and all(path.shape == (30, 2) for path in panel.paths)  # the first episode of two
    np.testing.assert_array_equal(panel.goals, [evaluation.task["goal"][2]])
    assert evaluation.trajectories is not None
    np.testing.assert_array_equal(panel.paths[1], evaluation.trajectories[0, 2, 1, 1, :30])


def test_trajectories_on_a_grid_are_cut_into_episodes(tmp_path):
    evaluation = read_run(synthetic.grid_run(tmp_path / "run")).evaluations[0]
    panel = panel_of(evaluation, 0, 3)
    assert panel.cells and all(path.shape == (15, 2) for path in panel.paths)
    np.testing.assert_array_equal(panel.frame, [[-0.5, -0.5], [4.5, 4.5]])
    figure = trajectories(evaluation)
    assert figure is not None and len(figure.axes) == 16
    assert len(figure.axes[0].patches) == 1  # the goal's cell


def test_beliefs_are_drawn_by_step_with_the_path_so_far(tmp_path):
    evaluation = read_run(synthetic.grid_run(tmp_path / "run")).evaluations[0]
    assert beliefs(evaluation) is None  # none were kept
    maps = np.random.default_rng(0).uniform(size=(1, 4, 1, 3, 60, 5, 5))
    evaluation = dataclasses.replace(evaluation, beliefs=maps)
    assert evaluation.trajectories is not None and evaluation.trajectories_first is not None
    assert shown_steps(evaluation.trajectories_first[0, 0, 0, 0]) == (0, 2, 5, 7, 9, 12, 14, 29, 44)
    assert shown_steps(np.array([True, False, False])) == (0, 1, 2)
    figure = beliefs(evaluation, tasks=(1, 3))
    assert figure is not None and len(figure.axes) == 2 * 9 + 1  # and the colour bar
    axes = figure.axes[9 + 7]  # task 4, the last step of the second episode
    np.testing.assert_array_equal(axes.images[0].get_array(), maps[0, 3, 0, 0, 29].T)
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), evaluation.trajectories[0, 3, 0, 0, 15:30])
    np.testing.assert_array_equal(axes.lines[2].get_xydata()[0], evaluation.task["goal"][3])


def rooms(tmp_path, lowest):
    """A walk of seven steps to the right from (-3, 0), on a wide grid with three goals."""
    synthetic.write_config(tmp_path, "varibad", "rooms", {}, 1)
    path = np.stack([np.arange(-3.0, 4.0), np.zeros(7)], axis=-1)[None, None, None, None].astype(np.float32)
    arrays = {
        "trajectories": path,
        "trajectories_first": np.arange(7)[None, None, None, None] == 0,
        "task_goals": np.array([[[-1, 1], [3, 0], [1, -1]]], np.float32),
        "beliefs": np.random.default_rng(0).uniform(size=(1, 1, 1, 1, 7, 9, 3)),
        **lowest,
    }
    synthetic.write_evaluation(tmp_path, "test", np.zeros((1, 1, 1, 1, 1)), **arrays)
    return read_run(tmp_path).evaluations[0]


def test_several_goals_are_numbered_and_a_wide_grid_has_its_steps_below_each_other(tmp_path):
    evaluation = rooms(tmp_path, {"beliefs_lowest": np.array([-4.0, -1.0], np.float32)})
    figure = beliefs(evaluation)
    assert figure is not None and len(figure.axes) == 7 + 1
    assert [axes.get_ylabel() for axes in figure.axes[:2]] == ["episode 1\nstep 0", "episode 1\nstep 1"]
    axes = figure.axes[2]
    assert evaluation.beliefs is not None and evaluation.trajectories is not None
    np.testing.assert_array_equal(axes.images[0].get_array(), evaluation.beliefs[0, 0, 0, 0, 2].T)
    assert tuple(axes.images[0].get_extent()) == (-4.5, 4.5, -1.5, 1.5)
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[-3, 0], [-2, 0], [-1, 0]])
    goals = {"1": (-1, 1), "2": (3, 0), "3": (1, -1)}
    assert {text.get_text(): text.xy for text in axes.texts} == goals
    paths = trajectories(evaluation)
    assert paths is not None and len(paths.axes[0].patches) == 3
    assert {text.get_text(): text.xy for text in paths.axes[0].texts} == goals


def test_no_beliefs_where_a_map_is_not_known_to_hold_the_path(tmp_path):
    assert beliefs(rooms(tmp_path, {})) is None  # an older file, read as a map from (0, 0)


def test_png_size_and_no_trace_left(tmp_path):
    before = {name: matplotlib.rcParams[name] for name in SETTINGS}
    run = read_run(synthetic.bandit_run(tmp_path / "run"))
    figure, again = learning_curve([run]), learning_curve([run])
    assert figure is not None and again is not None
    path = save(figure, tmp_path / "curve.png")
    assert imread(path).shape[:2] == (int(HEIGHT * DPI), int(WIDTH * DPI))
    assert {name: matplotlib.rcParams[name] for name in SETTINGS} == before
    assert save(again, tmp_path / "again.png").read_bytes() == path.read_bytes()
    assert "matplotlib.pyplot" not in sys.modules


def test_spread_by_hand():
    np.testing.assert_allclose(spread([0.5, 0.5], [0.2, 0.2], 0, 1), [0.4, 0.6])
    np.testing.assert_allclose(spread([0.9, 0.1], [0.2, 0.2], 0, 1), [0.9, 0.1])  # nothing to move
    np.testing.assert_allclose(spread([1.0, 1.0, 0.2], [0.2, 0.2, 0.2], 0, 1), [0.7, 0.9, 0.2])


@pytest.mark.parametrize("seed", range(5))
def test_spread_labels_never_overlap(seed):
    random = np.random.default_rng(seed)
    heights = random.uniform(0.03, 0.12, 8)
    placed = spread(random.uniform(0, 1, 8), heights, 0, 1)
    order = np.argsort(placed)
    gaps = np.diff(placed[order]) - (heights[order][1:] + heights[order][:-1]) / 2
    assert (gaps > -1e-9).all()
    assert (placed - heights / 2 > -1e-9).all() and (placed + heights / 2 < 1 + 1e-9).all()
