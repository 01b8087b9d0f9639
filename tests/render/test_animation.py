"""Animations of made-up episodes: that every benchmark with a picture can be drawn, and what is in the files."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from adaptax.names import registry
from adaptax.names.evaluation import task_fields
from adaptax.render import Path as Walk
from adaptax.render import Picture, Shot, animate, write
from adaptax.render.animation import MOST_FRAMES, Animation
from adaptax.render.grid import gridnavi
from adaptax.render.image import images
from adaptax.render.plane import navigation
from adaptax.report import ReportError
from adaptax.report.style import new_figure

GOAL = {"goal": np.asarray([0.3, -0.2])}


def shot(steps: int, label: str = "before", streams: int = 1) -> Shot:
    """Straight walks to the right, at 0.1 a step."""
    places = np.stack([0.1 * np.arange(steps + 1), np.zeros(steps + 1)], 1)
    walks = tuple(Walk(places + 0.2 * k, np.zeros((steps, 2)), np.ones(steps)) for k in range(streams))
    return Shot(label, walks, np.arange(steps + 1.0))


def moving(frames: list[np.ndarray]) -> np.ndarray:
    """Which columns of pixels ever change."""
    return np.flatnonzero(np.any([(a != b).any((0, 2)) for a, b in zip(frames, frames[1:], strict=False)], axis=0))


def test_one_frame_for_every_state_and_the_last_one_stays() -> None:
    made = animate(navigation(GOAL), [shot(5), shot(3, "after")], "a title", seconds=2.0)
    frames = list(made.frames)
    assert len(frames) == len(made.milliseconds) == 6
    assert made.milliseconds == (333,) * 5 + (1833,)
    assert len({frame.shape for frame in frames}) == 1 and frames[0].dtype == np.uint8
    assert all(size % 2 == 0 for size in frames[0].shape[:2])
    assert all((a != b).any() for a, b in zip(frames, frames[1:], strict=False))
    half = frames[0].shape[1] // 2
    columns = moving(frames[3:])  # the second panel's episode is over, and only the first one still moves
    assert columns.size and columns.max() < half < moving(frames[:4]).max()


def test_long_episodes_are_shown_in_fewer_frames() -> None:
    made = animate(navigation(GOAL), [shot(1000)], "")
    assert len(made.milliseconds) == MOST_FRAMES
    assert sum(made.milliseconds) == pytest.approx(6000 + 1500, rel=0.01)


DRAWN = (
    *(
        "bandit",
        "gaussian-bandit",
        "tabular-mdp",
        "navigation",
        "sparse-navigation",
        "clustered-navigation",
        "gridnavi",
    ),
    *("rooms", "treasure", "corner", "momentum-corner", "toy-1d", "cart-pole", "pendulum"),
)


@pytest.mark.parametrize("benchmark", DRAWN)
def test_every_picture_can_be_drawn(benchmark: str) -> None:
    on = registry.make_benchmark(benchmark, {})
    _, tasks = on.test.enumerate(jax.random.key(0), 1)
    assert on.picture is not None
    picture = on.picture(task_fields(jax.tree.map(lambda x: np.asarray(x)[0], tasks)))
    assert isinstance(picture, Picture) and picture.note
    actions, observations = on.spec.action_space, on.spec.observation_space
    for space in (actions, observations):
        space.seed(0)
    seen = np.asarray([observations.sample() for _ in range(4)], np.float64)
    walk = Walk(seen, np.asarray([actions.sample() for _ in range(3)]), np.asarray([0.0, 1.0, 0.5]))
    shots = [Shot(name, (walk,), np.arange(4.0)) for name in ("before", "after")]
    made = animate(picture, shots, "a title", picture.note)
    frames = list(made.frames)
    assert len(frames) == 4 and moving(frames).size > 0


@pytest.mark.parametrize(("panels", "rows"), [(1, 1), (2, 1), (4, 2)])
def test_no_text_lies_on_another(panels: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.text import Text

    def frame(step: int) -> np.ndarray:
        return np.zeros((30, 40, 3), np.uint8)

    figures: list[Any] = []
    monkeypatch.setattr(
        sys.modules[Animation.__module__], "new_figure", lambda *size: figures.append(new_figure(*size)) or figures[0]
    )
    walk = shot(3).paths[0]._replace(frame=frame)
    shots = [Shot(f"after {k} rounds, episode 2", (walk,), -130.7 * np.arange(4.0)) for k in range(panels)]
    width = list(animate(images(frame(0)), shots, "").frames)[0].shape[1]
    figures.clear()
    note = "green: what it says " * (width // 128)
    list(animate(images(frame(0)), shots, "multitask-ppo on half-cheetah-velocity, a task of one's own", note).frames)
    (figure,) = figures
    assert len({axes.get_position().y0 for axes in figure.axes}) == rows
    texts = [text for axes in figure.axes for text in axes.get_children() if isinstance(text, Text)]
    texts = [text for text in (*figure.texts, *texts) if text.get_text()]
    assert len(texts) == 2 + 2 * panels and len(figure.texts[-1].get_text().splitlines()) == 2
    boxes = [part.get_window_extent() for part in (*texts, *figure.axes)]
    for one, other in itertools.combinations(boxes, 2):
        assert min(one.x1, other.x1) <= max(one.x0, other.x0) or min(one.y1, other.y1) <= max(one.y0, other.y0)
    for box in boxes:
        assert min(box.x0, box.y0) >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


def test_beliefs_lie_under_the_cells() -> None:
    task = {"goal": np.asarray([4.0, 1.0])}
    beliefs = np.linspace(0, 1, 75).reshape(3, 5, 5)
    walk = shot(3).paths[0]
    plain, blue = (
        list(animate(gridnavi(task), [Shot("", (one,), np.zeros(4))], "").frames)  # type: ignore[arg-type]
        for one in (walk, walk._replace(beliefs=beliefs))
    )
    dark = [[(frame.sum(-1) < 400).mean() for frame in frames] for frames in (plain, blue)]
    assert dark[1][-1] > dark[0][-1] + 0.1 and dark[1][-1] > dark[1][0] + 0.1


def test_environments_that_draw_themselves() -> None:
    def frame(step: int) -> np.ndarray:
        return np.full((20, 40, 3), 10 * step, np.uint8)

    walk = shot(3).paths[0]._replace(frame=frame)
    picture = images(frame(0))
    assert (picture.aspect, picture.flat) == (2.0, False)
    frames = list(animate(picture, [Shot("", (walk,), np.zeros(4))], "").frames)
    height, width, _ = frames[0].shape
    assert [int(f[height // 2, width // 2, 0]) for f in frames] == [0, 10, 20, 30]
    with pytest.raises(ReportError, match=r"frame returned float64 \[20, 40\]; it must be uint8 \[height, width, 3\]"):
        images(np.zeros((20, 40)))


# --- files ---


def small(flat: bool = True) -> Animation:
    frames = [np.full((16, 24, 3), value, np.uint8) for value in (255, 100, 0)]
    return Animation(iter(frames), (100, 200, 900), flat)


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
@pytest.mark.parametrize("flat", [True, False])
def test_files_hold_the_frames_and_their_times(suffix: str, flat: bool, tmp_path: Path) -> None:
    path = write(small(flat), tmp_path / "new" / f"film{suffix}")
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    with Image.open(path) as image:
        shades, times = [], []
        for k in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(k)
            image.load()
            shades.append(image.convert("RGB").getpixel((5, 5))[0])  # type: ignore[index]
            times.append(image.info["duration"])
    assert shades[0] >= 254 and shades[2] == 0 and abs(shades[1] - 100) <= 4
    assert times == [100, 200, 900]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the reader leaves its pipes open
def test_mp4(tmp_path: Path) -> None:
    reader = pytest.importorskip("imageio_ffmpeg").read_frames(str(write(small(), tmp_path / "film.mp4")))
    assert next(reader)["size"] == (24, 16)
    frames = [np.frombuffer(frame, np.uint8) for frame in reader]
    assert len(frames) == 3 + 6 + 27  # of a thirtieth of a second
    assert frames[0].min() > 240 and frames[-1].max() < 15


def test_files_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ReportError, match=r"imageio-ffmpeg: pip install 'adaptax\[video\]', or write"):
        write(small(), tmp_path / "film.mp4")
    with pytest.raises(ReportError, match=r"film.png does not end in .webp, .gif, .mp4"):
        write(small(), tmp_path / "film.png")
    assert not list(tmp_path.iterdir())


def test_half_a_file_does_not_stay(tmp_path: Path) -> None:
    def broken(step: int) -> np.ndarray:
        raise RuntimeError("the simulator is gone")

    picture: Picture = images(np.zeros((8, 8, 3), np.uint8))
    walk = shot(2).paths[0]._replace(frame=broken)
    with pytest.raises(RuntimeError, match="the simulator is gone"):
        write(animate(picture, [Shot("", (walk,), np.zeros(3))], ""), tmp_path / "film.webp")
    assert not list(tmp_path.iterdir())
