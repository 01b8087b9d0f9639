"""Animations as files: WebP and GIF by Pillow, MP4 by imageio-ffmpeg where that is installed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..report import ReportError
from .animation import Animation

if TYPE_CHECKING:
    from PIL import Image

VIDEO_RATE = 30  # frames per second of an MP4, in which every frame lasts equally long


def check_writable(path: Path) -> None:
    """Raise a `ReportError` unless an animation can be written to a file of this name."""
    if path.suffix not in WRITERS:
        known = ", ".join(WRITERS)
        raise ReportError(f"{path.name} does not end in {known}, the kinds of animation that there are")
    if path.suffix == ".mp4":
        _ffmpeg()


def write(animation: Animation, path: Path) -> Path:
    """Write the animation, whole or not at all."""
    check_writable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        WRITERS[path.suffix](animation, beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def _webp(animation: Animation, path: Path) -> None:
    how = {"lossless": True, "quality": 20, "method": 1} if animation.flat else {"quality": 80, "method": 3}
    _save(_images(animation), animation, path, **how)


def _gif(animation: Animation, path: Path) -> None:
    images = _images(animation)
    _save(_of_one_palette(images) if animation.flat else images, animation, path)


def _images(animation: Animation) -> list[Image.Image]:
    """Of a drawing, with 32 shades of each colour, white among them: a file a third smaller, and no eye sees it."""
    from PIL import Image

    frames = ((frame & 0xF8 | frame >> 5) if animation.flat else frame for frame in animation.frames)
    return [Image.fromarray(frame) for frame in frames]


def _of_one_palette(images: list[Image.Image]) -> list[Image.Image]:
    """A palette for each frame would make files four times as large. Its colours are those of the first frame, one in
    the middle and the last."""
    from PIL import Image

    few = [images[0], images[len(images) // 2], images[-1]]
    width, height = few[0].size
    together = Image.new("RGB", (width, 3 * height))
    for k, image in enumerate(few):
        together.paste(image, (0, k * height))
    palette = together.quantize(256, method=Image.Quantize.MAXCOVERAGE)  # keeps the colours of thin lines
    return [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]


def _save(images: list[Image.Image], animation: Animation, path: Path, **how: Any) -> None:
    waits = list(animation.milliseconds)
    images[0].save(path, save_all=True, append_images=images[1:], duration=waits, loop=0, **how)


def _mp4(animation: Animation, path: Path) -> None:
    """Through a pipe of our own: imageio-ffmpeg's forks the process, which JAX does not bear."""
    frames = list(animation.frames)
    size = f"{frames[0].shape[1]}x{frames[0].shape[0]}"
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(VIDEO_RATE), "-i", "-"]
    made = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20", "-movflags", "+faststart"]
    words = [_ffmpeg().get_ffmpeg_exe(), "-v", "error", "-y", *given, *made, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it says below why it stopped
            for frame, wait in zip(frames, animation.milliseconds, strict=True):
                process.stdin.write(frame.tobytes() * max(1, round(wait * VIDEO_RATE / 1000)))
        _, complaint = process.communicate()
    if process.returncode:
        raise ReportError(f"ffmpeg could not write {path.name}: {complaint.decode(errors='replace').strip()}")


def _ffmpeg() -> Any:
    try:
        import imageio_ffmpeg  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ReportError(
            "an .mp4 needs the package imageio-ffmpeg: pip install 'adaptax[video]', or write .webp or .gif"
        ) from None
    return imageio_ffmpeg


WRITERS: dict[str, Callable[[Animation, Path], None]] = {".webp": _webp, ".gif": _gif, ".mp4": _mp4}
