from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from random_models import random_network, tiny_settings
from scipy import ndimage

import bottomup_fast as bf
from bottomup_fast.inference import pixel_maps
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.weights import save_model
from bottomup_fast.ops import join_fragments

Pixels = NDArray[Any]
Make = Callable[..., bf.Segmenter]


@pytest.fixture(scope="module")
def make() -> Make:
    """A segmenter with random weights; keyword arguments are the settings', then its own."""
    known: dict[str, BottomUpNetwork] = {}

    def build(
        foreground: bool = False,
        position_scale: float | None = None,
        preprocessing: dict[str, Any] | None = None,
        clustering: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> bf.Segmenter:
        chosen = tiny_settings(
            foreground,
            position_scale,
            preprocessing=preprocessing or {},
            clustering=clustering or {},
        )
        key = chosen.architecture.model_dump_json()
        network = known.setdefault(key, random_network(chosen))
        network.settings = chosen
        return bf.Segmenter(network, "cpu", **arguments)

    return build


def picture(seed: int = 0, height: int = 60, width: int = 75, block: int = 12) -> Pixels:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // block + 1, width // block + 1, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((block, block, 1), np.uint8))[:height, :width]


def check_partition(found: bf.Segmentation, shape: tuple[int, int]) -> None:
    assert found.labels.shape == shape
    assert found.labels.dtype == np.int32
    order = list(dict.fromkeys(label for label in found.labels.ravel().tolist() if label))
    assert order == list(range(1, found.num_segments + 1))
    for numbers in (found.scores, found.predicted_iou, found.stability_score):
        assert numbers.shape == (found.num_segments,)
        assert ((numbers >= 0) & (numbers <= 1)).all()


def test_a_model_file_and_every_kind_of_image(tmp_path: Path) -> None:
    chosen = tiny_settings(foreground=True)
    path = tmp_path / "tiny.safetensors"
    save_model(path, random_network(chosen), chosen)
    segmenter = bf.Segmenter(path, "cpu")
    pixels = picture()
    file = tmp_path / "picture.png"
    Image.fromarray(pixels).save(file)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="TIFF")
    expected = segmenter.segment(pixels)
    assert expected.num_segments > 1
    check_partition(expected, (60, 75))
    sources = (file, str(file), file.read_bytes(), stream.getvalue(), Image.fromarray(pixels))
    for found in segmenter.segment_batch(sources):
        assert np.array_equal(found.labels, expected.labels)
        assert np.array_equal(found.scores, expected.scores)
    assert np.array_equal(bf.segment(pixels, path).labels, expected.labels)
    assert np.array_equal(bf.Segmenter(str(path), "cpu").segment(file).labels, expected.labels)
    assert expected.metadata["model"] == chosen.model_dump(mode="json")


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (33, 1), (31, 65), (7, 5)])
@pytest.mark.parametrize("foreground", [False, True])
def test_any_size(make: Make, shape: tuple[int, int], foreground: bool) -> None:
    found = make(foreground).segment(picture(1, *shape))
    check_partition(found, shape)
    if not foreground:
        assert (found.labels > 0).all()


def test_grey_colour_alpha_and_bit_depths(make: Make) -> None:
    segmenter = make(preprocessing={"normalisation": "percentile"})
    grey = picture()[..., 0]
    expected = segmenter.segment(grey).labels
    opaque = np.full_like(grey, 255)
    for same in (
        grey[..., None],
        np.stack([grey] * 3, -1),
        np.stack([grey] * 3 + [opaque], -1),
        grey.astype(np.uint16) * 257,
        grey.astype(np.float64) / 255,
    ):
        assert np.array_equal(segmenter.segment(same).labels, expected)


def test_a_batch_equals_its_images_and_runs_repeat(make: Make) -> None:
    segmenter = make(foreground=True)
    images = [picture(seed, 40 + seed, 50) for seed in range(3)]
    for image, found in zip(images, segmenter.segment_batch(iter(images)), strict=True):
        alone = segmenter.segment(image)
        assert np.array_equal(found.labels, alone.labels)
        assert np.array_equal(found.scores, alone.scores)
        assert np.array_equal(found.image, image)
    assert segmenter.segment_batch([]) == []


def test_background(make: Make) -> None:
    found = make(foreground=True).segment(picture())
    assert 0 < (found.labels == 0).mean() < 1
    everything = make(foreground=True, keep_background=True).segment(picture())
    assert (everything.labels > 0).all()
    nothing = make(foreground=True, clustering={"foreground_threshold": 1.0}).segment(picture())
    assert not nothing.labels.any()
    assert nothing.segments == []
    by_region = {"foreground_threshold": 1.0, "by_region": True}
    assert not make(foreground=True, clustering=by_region).segment(picture()).labels.any()


def test_outliers_may_be_left(make: Make) -> None:
    clustering = {"bandwidth_deg": 20.0, "min_support": 200}
    maps = make(clustering=clustering)
    image = torch.from_numpy(picture()).permute(2, 0, 1) / 255
    cosine = pixel_maps(maps.network, image, maps.settings, 1024).cosine.numpy()
    outliers = cosine < np.cos(np.radians(20.0))
    assert 0 < outliers.mean() < 1
    assert (maps.segment(picture()).labels > 0).all()
    left = make(clustering=clustering, leave_outliers=True).segment(picture())
    assert np.array_equal(left.labels == 0, outliers)
    check_partition(left, (60, 75))


@pytest.mark.parametrize("by_region", [False, True])
def test_scores_are_the_foreground_s_or_the_features_own(make: Make, by_region: bool) -> None:
    segmenter = make(foreground=True, clustering={"by_region": by_region})
    image = torch.from_numpy(picture()).permute(2, 0, 1) / 255
    maps = pixel_maps(segmenter.network, image, segmenter.settings, 1024)
    found = segmenter.segment(picture())
    assert np.array_equal(found.labels > 0, maps.foreground.numpy() > 0.5)
    for number in range(found.num_segments):
        inside = found.labels == number + 1
        assert found.scores[number] == pytest.approx(maps.foreground.numpy()[inside].mean())
        cosine = maps.cosine.numpy()[inside]
        assert found.predicted_iou[number] == pytest.approx(cosine.mean(), abs=1e-6)
        tight, loose = (np.cos(np.radians(angle)) for angle in (0.75 * 45, 45))
        stable = (cosine >= tight).sum() / max(1, (cosine >= loose).sum())
        assert found.stability_score[number] == pytest.approx(stable)
    plain = make().segment(picture())
    assert np.array_equal(plain.scores, plain.predicted_iou)


def test_small_segments_are_folded(make: Make) -> None:
    split = {"split_components": True}
    before = make(clustering=split).segment(picture())
    areas = [segment["area"] for segment in before.segments]
    smallest = sorted(areas)[len(areas) // 2] + 1
    folded = make(clustering={**split, "min_area": smallest}).segment(picture())
    check_partition(folded, (60, 75))
    assert (folded.labels > 0).all()
    assert min(segment["area"] for segment in folded.segments) >= smallest
    assert folded.num_segments < before.num_segments


def test_resolutions_may_join_what_they_show_as_one(make: Make) -> None:
    pixels = picture(3)
    settings = {"split_components": True, "min_area": 4, "bandwidth_deg": 20}

    def segments(diameter: float | None, *resolutions: int) -> bf.Segmentation:
        chosen = {"resolutions": resolutions, "joining_diameter": diameter}
        return make(preprocessing=chosen, clustering=settings).segment(pixels)

    whole, parts = segments(None, 32), segments(None, 96)
    found = segments(6.0, 32, 96)
    check_partition(found, (60, 75))
    # One is 6 pixels wide at a side of 32 if its area is that of a disc of 6 * 75 / 32 pixels.
    area = np.pi / 4 * (6 * 75 / 32) ** 2
    one, other = (torch.from_numpy(found.labels.copy()) for found in (parts, whole))
    expected = join_fragments(one, other, min_area=area)
    assert np.array_equal(found.labels, expected.numpy())
    assert whole.num_segments < found.num_segments < parts.num_segments
    # A single resolution has nothing to join; nor has any if no object is large enough.
    assert np.array_equal(segments(6.0, 96).labels, parts.labels)
    assert np.array_equal(segments(1e6, 32, 96).labels, parts.labels)


def test_segments_may_be_split_into_connected_pieces(make: Make) -> None:
    whole = make().segment(picture()).labels
    split = make(clustering={"split_components": True}).segment(picture()).labels
    pieces = [ndimage.label(whole == number)[1] for number in range(1, whole.max() + 1)]
    assert split.max() == sum(pieces) > whole.max()
    for number in range(1, split.max() + 1):
        inside = split == number
        assert ndimage.label(inside)[1] == 1
        assert len(np.unique(whole[inside])) == 1


def test_low_scores_are_background(make: Make) -> None:
    split = {"split_components": True}
    before = make(foreground=True, clustering=split).segment(picture())
    bar = float(np.median(before.scores)) + 1e-9
    after = make(foreground=True, clustering={**split, "min_score": bar}).segment(picture())
    kept = np.concatenate([[False], before.scores >= bar])
    assert np.array_equal(after.labels > 0, kept[before.labels])
    np.testing.assert_allclose(after.scores, before.scores[before.scores >= bar])
    ignored = make(clustering={"min_score": 1.0}).segment(picture())
    assert (ignored.labels > 0).all()


def test_regions_are_clustered_alone(make: Make) -> None:
    found = make(foreground=True, clustering={"by_region": True}).segment(picture())
    plain = make(foreground=True).segment(picture())
    assert np.array_equal(found.labels > 0, plain.labels > 0)
    regions, count = ndimage.label(found.labels > 0)
    assert count > 1
    pairs = {(a, b) for a, b in zip(regions.ravel(), found.labels.ravel(), strict=True) if a}
    assert len(pairs) == found.num_segments


def test_scale_and_resolutions(make: Make) -> None:
    pixels = picture()
    for arguments in ({"scale": 0.5}, {"scale": 1.7}, {"resolutions": [64]}):
        segmenter = make(**arguments)
        found = segmenter.segment(pixels)
        check_partition(found, (60, 75))
        assert (found.labels > 0).all()
        told = found.metadata["model"]["preprocessing"]
        assert told["scale"] == arguments.get("scale")
        assert told["resolutions"] == arguments.get("resolutions", [])
    halved = make(scale=0.5).segment(picture(0, 60, 76)).labels
    assert np.array_equal(np.kron(halved[::2, ::2], np.ones((2, 2), int)), halved)


def test_finer_resolutions_refine(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = picture(2, 48, 64)
    seen: list[tuple[int, ...]] = []

    def spy(network: Any, image: Any, *rest: Any) -> Any:
        seen.append(tuple(image.shape[1:]))
        return pixel_maps(network, image, *rest)

    monkeypatch.setattr("bottomup_fast.segmenter.pixel_maps", spy)
    for foreground in (False, True):
        seen.clear()
        found = make(foreground, resolutions=(32, 64)).segment(pixels)
        check_partition(found, (48, 64))
        assert seen == [(24, 32), *[(32, 32)] * 6]
        assert found.metadata["model"]["preprocessing"]["resolutions"] == [32, 64]
        if not foreground:
            assert (found.labels > 0).all()
