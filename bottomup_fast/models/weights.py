"""Model files: half-precision safetensors with the settings as JSON in the header."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import as_file, files
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bottomup_fast.errors import InputError
from bottomup_fast.files import atomic_write
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.registry import create_model, suggestion
from bottomup_fast.settings import ModelSettings

SETTINGS_KEY = "bottomup_fast"
CHECKSUM_KEY = "sha256"
DEFAULT_MODEL = "everyday"
BUNDLED_MODELS = files("bottomup_fast.models") / "weights"
"""Folder of the models in the package."""


def list_models() -> list[str]:
    """Names of the models in the package."""
    if not BUNDLED_MODELS.is_dir():
        return []
    names = (Path(entry.name) for entry in BUNDLED_MODELS.iterdir())
    return sorted(name.stem for name in names if name.suffix == ".safetensors")


def build_network(
    settings: ModelSettings, pretrained_backbone: bool | str | os.PathLike[str] = False
) -> BottomUpNetwork:
    """The network that `settings` describe, without its weights."""
    architecture = settings.architecture
    return create_model(
        architecture.name,
        architecture.feature_dim,
        pretrained_backbone,
        foreground=architecture.foreground,
        position_scale=architecture.position_scale,
        largest_scale=architecture.largest_scale,
    )


def save_model(path: str | os.PathLike[str], network: nn.Module, settings: ModelSettings) -> None:
    """Write weights (float16) and settings; the file appears whole or not at all."""
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous().cpu()
        for name, tensor in network.state_dict().items()
    }
    text = settings.model_dump_json()
    metadata = {SETTINGS_KEY: text, CHECKSUM_KEY: _checksum(text, tensors)}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def load_model(name_or_path: str | os.PathLike[str] = DEFAULT_MODEL) -> BottomUpNetwork:
    """Network of a bundled model or a `.safetensors` file, in evaluation mode, float32.

    Its `settings` attribute is the file's `ModelSettings`.

    Raises:
        InputError: unknown name; missing, damaged or foreign file; weights that do not fit.
    """
    with as_file(BUNDLED_MODELS) as bundled:
        path = _resolve(name_or_path, bundled)
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"{path}: not a readable safetensors file ({error}); copy or save it again"
            ) from error
    if SETTINGS_KEY not in metadata:
        raise InputError(f"{path}: not a model of this package (no {SETTINGS_KEY!r} metadata)")
    # Files of other programs, and older ones, have none.
    checksum = metadata.get(CHECKSUM_KEY)
    if checksum is not None and checksum != _checksum(metadata[SETTINGS_KEY], tensors):
        raise InputError(f"{path}: damaged, its checksum does not match; copy or save it again")
    try:
        settings = ModelSettings.model_validate_json(metadata[SETTINGS_KEY])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, ("settings", *first["loc"])))
        raise InputError(f"{path}: {place}: {first['msg']}") from error
    try:
        network = build_network(settings)
    except InputError as error:
        raise InputError(f"{path}: settings: {error}") from error
    expected = network.state_dict()
    for key in sorted(expected.keys() | tensors.keys()):
        if key not in tensors:
            raise InputError(f"{path}: weights: {key} is missing")
        if key not in expected:
            raise InputError(f"{path}: weights: {key} is unknown")
        if tensors[key].shape != expected[key].shape:
            raise InputError(f"{path}: weights: {key} has shape {tuple(tensors[key].shape)}")
        if tensors[key].dtype not in (torch.float16, expected[key].dtype):
            raise InputError(f"{path}: weights: {key} has type {tensors[key].dtype}")
        if not torch.isfinite(tensors[key]).all():
            raise InputError(f"{path}: weights: {key} contains NaN or Inf")
    network.load_state_dict(tensors)
    network.settings = settings
    return network.eval()


def _checksum(settings: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of all that a model file holds."""
    digest = sha256(settings.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _resolve(name_or_path: str | os.PathLike[str], bundled: Path) -> Path:
    path = Path(name_or_path)
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise InputError(f"{path}: no such model file")
        return path
    name = str(name_or_path)
    if name not in list_models():
        raise InputError(f"unknown model {name!r}{suggestion(name, list_models())}")
    return bundled / f"{name}.safetensors"
