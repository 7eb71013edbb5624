from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from id_switches import EXAMPLES, clip, count_switches, example, objects_in_frames
from PIL import Image

from bottomup_fast import Segmenter


def test_switches_are_counted() -> None:
    truth = np.repeat([[0, 1, 2]], 60, axis=0)
    ids = [np.repeat([row], 60, axis=0) for row in ([0, 5, 7], [0, 7, 5], [3, 0, 0], [0, 7, 6])]
    assert count_switches([truth] * 4, ids) == (3, 6)


def test_the_clip_is_what_its_script_makes() -> None:
    make_clip = example("make_clip")
    micrograph = np.asarray(Image.open(EXAMPLES / "nuclei.png").convert("L"))
    made, shipped = make_clip.frames(micrograph), clip()
    assert len(made) == len(shipped) == make_clip.FRAMES
    for ours, theirs in zip(made, shipped, strict=True):
        assert np.abs(ours - theirs[..., 1].astype(float)).mean() < 3


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_the_example_draws_every_frame(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / f"segments{suffix}"
    example("video").main(["--output", str(output), "--frames", "2"])
    assert "2 frames" in capsys.readouterr().out
    with Image.open(output) as animation:
        assert animation.n_frames == 2  # type: ignore[attr-defined]
        colours = np.asarray(animation.convert("RGB"), int)
        animation.load()
        assert animation.info["duration"] == 80
    assert np.ptp(colours, axis=2).max() > 50
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_the_example_names_what_is_wrong(tmp_path: Path) -> None:
    video = example("video")
    with pytest.raises(SystemExit, match=r"missing\.gif"):
        video.main([str(tmp_path / "missing.gif"), "--output", str(tmp_path / "out.gif")])
    with pytest.raises(SystemExit, match="nosuchmodel"):
        video.main(["--model", "nosuchmodel", "--output", str(tmp_path / "out.gif")])
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_ids_are_stable_on_the_clip() -> None:
    segmenter = Segmenter("cells")
    truth = objects_in_frames(segmenter.segment(EXAMPLES / "nuclei.png").labels)
    results = [found.id_map for found in segmenter.stream(clip())]
    switches, observations = count_switches(truth, results)
    assert observations > 600
    assert switches <= 0.01 * observations
