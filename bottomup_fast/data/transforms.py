"""Augmentation of an image with its label map, every random number from the caller's generator."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from bottomup_fast.data.copy_paste import paste_objects
from bottomup_fast.settings import Fraction, Positive, Settings

FloatImage = NDArray[np.float32]
Labels = NDArray[np.int32]
MAX_ZOOM = 4.0
"""Bound on the zoom towards a wanted object diameter, either way."""
NotNegative = Annotated[float, Field(ge=0)]


class AugmentationSettings(Settings):
    """How strongly training images are varied.

    Attributes:
        scale: smallest and largest zoom, drawn log-uniformly.
        object_diameter: zoom each image first so that its median entity has this diameter (pixels,
            of the disc of equal area), for domains whose pictures come at any magnification.
        focus: probability that a crop is placed on a random entity, rather than anywhere.
        rotate: rotate by any angle; else the image keeps its upright.
        stretch: largest ratio of the zooms along two axes, drawn log-uniformly from its inverse up.
        flip: mirror half of the images (both ways if they are also rotated).
        invert: probability of inverting intensities.
        channel_shuffle: probability of permuting the colour channels.
        grey: probability of dropping colour.
        colour: standard deviation of a gain and an offset per channel.
        gamma: standard deviation of the logarithm of a gamma.
        blur: largest standard deviation (pixels) of a Gaussian blur, given to half of the images.
        noise: largest standard deviation of additive noise, where the image's range is 1.
        min_entity_pixels: smaller remains of entities, cut by the crop, are ignored.
        paste: probability that objects of another image, seen through a crop of its own, are laid
            over an image.
    """

    scale: tuple[Positive, Positive] = (0.7, 1.4)
    object_diameter: Positive | None = None
    focus: Fraction = 0.0
    rotate: bool = False
    stretch: Annotated[float, Field(ge=1, le=MAX_ZOOM)] = 1.0
    flip: bool = True
    invert: Fraction = 0.0
    channel_shuffle: Fraction = 0.0
    grey: Fraction = 0.1
    colour: NotNegative = 0.1
    gamma: NotNegative = 0.2
    blur: NotNegative = 1.0
    noise: NotNegative = 0.03
    min_entity_pixels: Annotated[int, Field(ge=1)] = 12
    paste: Fraction = 0.0


def augment(
    image: FloatImage,
    labels: Labels,
    crop: int,
    settings: AugmentationSettings,
    generator: np.random.Generator,
    max_entities: int | None = None,
    donor: tuple[FloatImage, Labels] | None = None,
) -> tuple[FloatImage, Labels]:
    """A random crop x crop view of an image, with varied appearance.

    Args:
        image: (H, W, 3), nominally in [0, 1].
        labels: (H, W) with -1 ignore, 0 unlabelled, 1..K.
        crop: side of the result, pixels.
        settings: strength of the variation.
        generator: source of all randomness.
        max_entities: if given, all but so many largest entities are ignored.
        donor: another image and its labels, some of whose entities are laid over the crop.

    Returns:
        (crop, crop, 3) and (crop, crop); entities made consecutive, beyond the image -1.
    """
    view, view_labels = random_crop(image, labels, crop, settings, generator)
    if donor is not None:
        other = random_crop(*donor, crop, settings, generator)
        view, view_labels = paste_objects(view, view_labels, *other, generator)
    view_labels = tidy_labels(view_labels, settings.min_entity_pixels, max_entities)
    return vary_appearance(view, settings, generator), view_labels


def random_crop(
    image: FloatImage,
    labels: Labels,
    crop: int,
    settings: AugmentationSettings,
    generator: np.random.Generator,
) -> tuple[FloatImage, Labels]:
    """Zoom, stretch, rotate, mirror and crop in one resampling; beyond its border an image is
    mirrored."""
    low, high = settings.scale
    zoom = np.exp(generator.uniform(np.log(low), np.log(high)))
    if settings.object_diameter is not None:
        zoom *= zoom_to_diameter(labels, settings.object_diameter)
    angle = generator.uniform(0, 2 * np.pi) if settings.rotate else 0.0
    cosine, sine = np.cos(angle) / zoom, np.sin(angle) / zoom
    matrix = np.array([[cosine, -sine], [sine, cosine]])
    if settings.stretch > 1:
        ratio = settings.stretch ** generator.uniform(-1, 1)
        matrix *= np.sqrt([ratio, 1 / ratio])
    if settings.flip and generator.random() < 0.5:
        matrix[:, 1] *= -1
    centre = _crop_centre(labels, np.abs(matrix).sum(1) * crop / 2, settings.focus, generator)
    offset = centre - 0.5 - matrix @ np.full(2, (crop - 1) / 2)
    # Shrinking needs a low-pass first, or fine texture aliases.
    sigma = max(0.0, 0.5 * (1 / zoom - 1))
    source = ndimage.gaussian_filter(image, (sigma, sigma, 0)) if sigma > 0.2 else image
    view = np.stack(
        [
            ndimage.affine_transform(
                source[..., c], matrix, offset, (crop, crop), order=1, mode="mirror"
            )
            for c in range(3)
        ],
        axis=-1,
    )
    view_labels = ndimage.affine_transform(
        labels, matrix, offset, (crop, crop), order=0, mode="constant", cval=-1
    )
    return view, view_labels


def zoom_to_diameter(labels: Labels, diameter: float) -> float:
    """Zoom that gives the median entity the diameter of a disc of its area; 1 without entities.

    Specks do not count: entities of less than an eighth of the area of the one that the median
    pixel belongs to.
    """
    areas = np.sort(np.bincount(labels[labels > 0]))
    areas = areas[areas > 0]
    if len(areas):
        typical = areas[np.searchsorted(areas.cumsum(), areas.sum() / 2)]
        areas = areas[8 * areas >= typical]
    if not len(areas):
        return 1.0
    zoom = diameter / np.sqrt(4 / np.pi * np.median(areas))
    return float(np.clip(zoom, 1 / MAX_ZOOM, MAX_ZOOM))


def _crop_centre(
    labels: Labels, reach: NDArray[np.float64], focus: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Centre (y, x) of a crop with half extents `reach`, kept inside the image where it fits."""
    size = np.array(labels.shape)
    centre = generator.uniform(0, size)
    entity_pixels = np.flatnonzero(labels > 0)
    if generator.random() < focus and len(entity_pixels):
        pixel = np.unravel_index(generator.choice(entity_pixels), labels.shape)
        centre = np.array(pixel) + generator.uniform(-0.5, 0.5, 2) * reach
    middle = size * generator.uniform(0.4, 0.6, 2)
    return np.where(size > 2 * reach, np.clip(centre, reach, size - reach), middle)


def vary_appearance(
    image: FloatImage, settings: AugmentationSettings, generator: np.random.Generator
) -> FloatImage:
    """Inversion, colour, gamma, blur and noise."""
    if generator.random() < settings.invert:
        image = 1 - image
    if generator.random() < settings.channel_shuffle:
        image = image[..., generator.permutation(3)]
    if generator.random() < settings.grey:
        image = np.repeat(image.mean(-1, keepdims=True), 3, axis=-1)
    gamma = np.exp(generator.normal(0, settings.gamma))
    image = np.clip(image, 0, 1) ** np.float32(gamma)
    # Half of the change is common to the channels: brightness varies more than hue.
    gain = 1 + settings.colour * (generator.normal(size=3) + generator.normal()) / np.sqrt(2)
    shift = settings.colour * (generator.normal(size=3) + generator.normal()) / (2 * np.sqrt(2))
    image = (image - 0.5) * gain + 0.5 + shift
    if generator.random() < 0.5:
        sigma = generator.uniform(0, settings.blur)
        image = ndimage.gaussian_filter(image, (sigma, sigma, 0))
    noise = generator.uniform(0, settings.noise)
    # Shot noise grows with brightness; a part of it is there in the dark too.
    strength = noise * np.sqrt(0.3 + 0.7 * np.clip(image, 0, 1))
    image = image + strength * generator.standard_normal(image.shape, dtype=np.float32)
    return image.astype(np.float32)


def tidy_labels(labels: Labels, min_pixels: int = 1, max_entities: int | None = None) -> Labels:
    """Make entities consecutive; remains below `min_pixels`, and all but the largest, become -1."""
    areas = np.bincount(labels[labels > 0].ravel())
    kept = np.flatnonzero(areas >= max(1, min_pixels))
    if max_entities is not None and len(kept) > max_entities:
        largest = np.argsort(-areas[kept], kind="stable")[:max_entities]
        kept = np.sort(kept[largest])
    table = np.full(max(len(areas), 1), -1, np.int32)
    table[kept] = np.arange(1, len(kept) + 1, dtype=np.int32)
    return np.where(labels > 0, table[np.maximum(labels, 0)], labels).astype(np.int32)


def ignore_beyond(labels: Labels, distance: float) -> Labels:
    """Labels (H, W) whose 0 is -1 farther than `distance` (pixels) from every entity 1..K."""
    far = np.asarray(ndimage.distance_transform_edt(labels <= 0)) > distance
    beyond = (labels == 0) & (far if (labels > 0).any() else True)
    return np.where(beyond, np.int32(-1), labels)
