"""Segments a video, or what a camera sees; the colour of an object stays with it.

    python examples/video.py                                       # drift.webp, beside this file
    python examples/video.py clip.mp4 --output segments.mp4
    python examples/video.py /dev/video0 --model my.safetensors --frames 300 --output camera.mp4

Animated WebP, GIF and PNG need nothing more; other videos and cameras the extra
`bottomup-fast[video]`. Ctrl-C ends a camera's video.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from bottomup_fast import InputError, Segmenter
from bottomup_fast.files import atomic_write

Picture = NDArray[np.uint8]
ANIMATIONS = (".webp", ".gif", ".png")
CLIP = Path(__file__).with_name("drift.webp")


def import_av() -> Any:
    """PyAV, for which there is no need where videos are animated pictures."""
    try:
        import av
    except ImportError as error:
        raise SystemExit("PyAV is missing: pip install 'bottomup-fast[video]'") from error
    return av


def open_video(source: str) -> tuple[Fraction, Iterator[Picture]]:
    """Frames per second and the frames, uint8 (H, W, 3), read as they are asked for."""
    if Path(source).suffix.lower() in ANIMATIONS:
        animation = Image.open(source)
        animation.load()
        milliseconds = round(animation.info.get("duration", 0)) or 100
        pictures = (np.asarray(one.convert("RGB")) for one in ImageSequence.Iterator(animation))
        return Fraction(1000, milliseconds), pictures
    container = import_av().open(source, format="v4l2" if source.startswith("/dev/") else None)
    rate = Fraction(container.streams.video[0].average_rate or 25)
    return rate, (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))


@contextmanager
def video_writer(path: Path, rate: Fraction) -> Iterator[Callable[[Picture], None]]:
    """A function that adds a picture to the video, which is there once all are added."""
    with atomic_write(path) as temporary:
        if path.suffix.lower() in ANIMATIONS:
            images: list[Image.Image] = []
            yield lambda picture: images.append(Image.fromarray(picture))
            if images:
                duration = round(1000 / rate)
                images[0].save(
                    temporary, save_all=True, append_images=images[1:], duration=duration, loop=0
                )
            return
        av = import_av()
        with av.open(str(temporary), "w") as container:
            stream = container.add_stream("libx264", rate=rate, options={"crf": "20"})

            def add(picture: Picture) -> None:
                height, width = (side - side % 2 for side in picture.shape[:2])
                if not stream.codec_context.is_open:
                    stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
                cropped = np.ascontiguousarray(picture[:height, :width])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(cropped, format="rgb24")))

            yield add
            container.mux(stream.encode())


def main(arguments: list[str] | None = None) -> None:
    """Read, segment, draw, write."""
    parser = argparse.ArgumentParser(description="Segments a video or what a camera sees.")
    parser.add_argument("source", nargs="?", default=str(CLIP), help="file, address or camera")
    parser.add_argument("--output", type=Path, default=Path("segments.webp"))
    parser.add_argument("--model", default="cells", help="the clip that comes with it is of cells")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--frames", type=int, help="stop after so many")
    options = parser.parse_args(arguments)
    try:
        segmenter = Segmenter(options.model, options.device)
        rate, frames = open_video(options.source)
        ids: set[int] = set()
        count, start = 0, time.perf_counter()
        with video_writer(options.output, rate) as write:
            try:
                for found in segmenter.stream(islice(frames, options.frames)):
                    write(found.overlay())
                    ids.update(found.ids.tolist())
                    count += 1
            except KeyboardInterrupt:
                print("stopped")
    except (InputError, OSError) as error:
        raise SystemExit(f"video.py: {error}") from error
    seconds = time.perf_counter() - start
    print(f"{options.output}: {count} frames, {count / seconds:.1f} a second, {len(ids)} objects")


if __name__ == "__main__":
    main()
