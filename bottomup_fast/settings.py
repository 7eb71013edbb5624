"""What a model file says about itself: all that is needed to turn an image into segments."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


Precision = Literal["highest", "fast"]


class Settings(BaseModel):
    """Base of all settings: immutable, unknown keys and infinite numbers refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ArchitectureSettings(Settings):
    """Arguments of `create_model`."""

    name: str
    feature_dim: Annotated[int, Field(ge=1, le=4096)]
    foreground: bool = False
    position_scale: Positive | None = None
    largest_scale: Positive | None = None


class PreprocessingSettings(Settings):
    """From the pixels of a file to the network's input.

    Attributes:
        normalisation: "percentile" stretches each image between two of its percentiles (right for
            microscopes, whose frames use any part of the range); "range" divides by the largest
            value of the pixel type.
        low_percentile: mapped to 0.
        high_percentile: mapped to 1.
        mean: subtracted per channel (R, G, B) after that.
        std: divided by per channel after that.
        scale: zoom of the image before the network, for domains with a known pixel size; None where
            `resolutions` say the size instead.
        object_diameter: if given, `scale` is only for a first look, small enough to show the
            largest objects whole; the image is then enlarged, up to eight times that, until the
            median object found has this diameter (pixels, of the disc of equal area).
        resolutions: longer sides (pixels), ascending, of multi-resolution inference.
        patch_overlap: fraction by which patches of the larger resolutions overlap.
        joining_diameter: if given, resolutions are not merged by patches; the image is seen whole
            at each, and what looks like one object of at least this diameter (pixels seen, of the
            disc of equal area) at a smaller one joins its parts at the largest.
    """

    normalisation: Literal["percentile", "range"] = "range"
    low_percentile: Annotated[float, Field(ge=0, le=100)] = 1.0
    high_percentile: Annotated[float, Field(ge=0, le=100)] = 99.7
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[Positive, Positive, Positive] = (0.5, 0.5, 0.5)
    scale: Annotated[float, Field(gt=0, le=1000)] | None = None
    object_diameter: Positive | None = None
    resolutions: tuple[Annotated[int, Field(ge=32, le=1 << 20)], ...] = ()
    patch_overlap: Annotated[float, Field(ge=0, lt=1)] = 0.25
    joining_diameter: Positive | None = None

    @model_validator(mode="after")
    def _check(self) -> PreprocessingSettings:
        if self.low_percentile >= self.high_percentile:
            raise ValueError("low_percentile must be below high_percentile")
        if (self.scale is None) == (not self.resolutions):
            raise ValueError("give either scale or resolutions")
        if self.object_diameter is not None and self.scale is None:
            raise ValueError("object_diameter needs a scale for the first look")
        if self.joining_diameter is not None and not self.resolutions:
            raise ValueError("joining_diameter needs resolutions")
        if list(self.resolutions) != sorted(set(self.resolutions)):
            raise ValueError("resolutions must be ascending")
        return self


class ClusteringSettings(Settings):
    """From features to segments.

    Attributes:
        bandwidth_deg: of mean shift, degrees.
        min_support: pixels a mode needs in its window to be kept.
        foreground_threshold: probability above which a pixel belongs to an object, for models that
            tell background apart.
        by_region: cluster each connected piece of the foreground on its own, for models that tell
            background apart.
        split_components: make connected pieces of a mode segments of their own.
        min_area: segments of fewer pixels are folded into a neighbour; pixels of the zoomed image
            for models that work at a scale, else of the original one.
        min_score: segments scoring less are background, for models that tell it apart.
        precision: of `cluster`; "fast" for features that do not all separate, those of photographs:
            modes are then found on a grid of 4,096 pixels of an image.
    """

    bandwidth_deg: Annotated[float, Field(gt=0, le=45)] = 45.0
    min_support: Annotated[int, Field(ge=1)] = 10
    foreground_threshold: Fraction = 0.5
    by_region: bool = False
    split_components: bool = False
    min_area: Annotated[int, Field(ge=0)] = 0
    min_score: Fraction = 0.0
    precision: Precision = "highest"


class ModelSettings(Settings):
    """The whole description, stored as JSON in a model file."""

    name: str
    description: str = ""
    licence: str = ""
    architecture: ArchitectureSettings
    preprocessing: PreprocessingSettings
    clustering: ClusteringSettings = ClusteringSettings()

    @model_validator(mode="after")
    def _foreground(self) -> ModelSettings:
        if not self.architecture.foreground:
            if self.preprocessing.object_diameter is not None:
                raise ValueError("object_diameter needs a model that tells foreground")
            if self.clustering.by_region:
                raise ValueError("by_region needs a model that tells foreground")
        return self
