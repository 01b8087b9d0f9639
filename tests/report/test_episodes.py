import dataclasses

import numpy as np
from matplotlib.colors import same_color, to_rgb
from report import synthetic

from adaptax.report import report
from adaptax.report.episodes import HOW_TO_READ, episodes, life
from adaptax.report.read import read_run

GOALS = np.array([[0.0, 1.0], [1.0, 0.0], [-0.6, 0.8]], np.float32)


def search_run(run, rounds=8, steps=6):
    """One episode a round: the first ends at (0, 1), each later one a step further to the right, on every task."""
    synthetic.write_config(run, "pearl", "sparse-navigation", {}, 1)
    synthetic.write_metrics(run, [])
    ends = np.stack([np.arange(rounds) / 10, np.ones(rounds)], axis=-1)
    paths = np.linspace(0, 1, steps)[:, None] * ends[:, None]  # [R, T, 2]
    paths = np.broadcast_to(paths[None, None, :, None], (1, 3, rounds, 2, steps, 2)).astype(np.float32)
    first = np.zeros(paths.shape[:-1], bool)
    first[..., 0] = True
    returns = np.zeros((1, 3, rounds, 2, 1))
    synthetic.write_evaluation(run, "test", returns, task_goal=GOALS, trajectories=paths, trajectories_first=first)
    return run


def lines(axes, name):
    return [line for line in axes.get_lines() if line.get_label() == name]


def brightness(colour):
    return float(np.dot(to_rgb(colour), [0.2126, 0.7152, 0.0722]))


def test_every_episode_of_the_first_stream_in_its_order(tmp_path):
    evaluation = read_run(search_run(tmp_path / "run")).evaluations[0]
    figure = episodes(evaluation, "ours")
    assert figure is not None
    *panels, bar = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == 3 and bar.get_ylabel() == "episode" and figure.get_suptitle().startswith("ours on test tasks")
    for task, axes in enumerate(panels):
        paths = lines(axes, "path")
        assert len(paths) == 8
        np.testing.assert_allclose(
            [path.get_xydata()[-1] for path in paths], [[k / 10, 1] for k in range(8)], atol=1e-6
        )
        shades = [brightness(path.get_color()) for path in paths]
        assert all(later < before for before, later in zip(shades, shades[1:], strict=False))  # light to dark
        (dots,) = axes.collections
        np.testing.assert_allclose(dots.get_offsets(), [[k / 10, 1] for k in range(8)], atol=1e-6)
        figure.draw_without_rendering()
        assert all(same_color(dot, path.get_color()) for dot, path in zip(dots.get_facecolors(), paths, strict=True))
        (star,) = lines(axes, "goal")
        np.testing.assert_array_equal(star.get_xydata(), [GOALS[task]])
    np.testing.assert_array_equal(bar.get_yticks(), [1, 2, 4, 6, 8])


def test_a_life_of_several_episodes_in_each_round(tmp_path):
    evaluation = read_run(synthetic.navigation_run(tmp_path / "run")).evaluations[0]
    assert episodes(evaluation) is None  # four points: `trajectories` shows them all
    assert evaluation.trajectories is not None
    two = dataclasses.replace(evaluation, returns=np.repeat(evaluation.returns, 2, axis=-1))
    paths = life(two, 1)
    assert len(paths) == 8 and all(path.shape == (30, 2) for path in paths)
    np.testing.assert_array_equal(paths[3], evaluation.trajectories[0, 1, 1, 0, 30:])
    figure = episodes(two)
    assert figure is not None and len(lines(figure.axes[0], "path")) == 8


def test_on_a_grid_episodes_lie_side_by_side(tmp_path):
    evaluation = read_run(synthetic.grid_run(tmp_path / "run")).evaluations[0]
    assert episodes(evaluation) is None
    twice = {
        name: np.repeat(getattr(evaluation, name), 2, axis=2)
        for name in ("returns", "trajectories", "trajectories_first")
    }
    figure = episodes(dataclasses.replace(evaluation, **twice))
    assert figure is not None and len(figure.axes[0].patches) == 1  # the goal's cell
    starts = [line.get_xydata()[0] for line in lines(figure.axes[0], "path")]
    np.testing.assert_allclose(starts, np.linspace(-0.3, 0.3, 8)[:, None] * [1, 1])


def test_the_report_shows_it_where_a_life_is_long(tmp_path):
    page, *figures = report([search_run(tmp_path / "long")])
    assert "episodes-test.png" in [path.name for path in figures]
    text = page.read_text()
    assert text.count(HOW_TO_READ) == 1 and "![Every episode of pearl](episodes-test.png)" in text
    page, *figures = report([search_run(tmp_path / "short", rounds=5)])
    assert "trajectories-test.png" in [path.name for path in figures]
    assert "episodes-test.png" not in [path.name for path in figures] and HOW_TO_READ not in page.read_text()
