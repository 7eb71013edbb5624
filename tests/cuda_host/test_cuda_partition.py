"""`cluster_cuda` finds the CPU core's partition."""

from __future__ import annotations

import pytest
from devices import Device
from meanshift_ops import cluster, in_memory
from partition_cases import adjusted_rand_index, blobs_or_noise, mixed_borders
from torch import Tensor, from_numpy

import bottomup_fast

FAMILY = "meanshift"
SIZE = 28


def on_device(device: Device, features: Tensor, fast: bool) -> Tensor:
    found = cluster(device, in_memory(features.flatten(1)[None].numpy()), fast=fast)
    assert found.status == 0
    return from_numpy(found.labels).view(features.shape[1:])


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_partition_of_the_cpu(device: Device, seed: int, fast: bool) -> None:
    features = blobs_or_noise(seed, size=SIZE)
    found = on_device(device, features, fast)
    assert adjusted_rand_index(found, bottomup_fast.cluster(features.float())) >= 0.99


@pytest.mark.parametrize("fast", [False, True])
def test_mixtures_at_borders(device: Device, fast: bool) -> None:
    features = mixed_borders(0, SIZE)
    found = on_device(device, features, fast)
    assert adjusted_rand_index(found, bottomup_fast.cluster(features.float())) >= 0.99


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("seed", [0, 5])
def test_equal_where_the_entities_are_apart(device: Device, seed: int, fast: bool) -> None:
    features = blobs_or_noise(seed, noise_deg=(1, 12), size=SIZE)
    found = on_device(device, features, fast)
    assert found.equal(bottomup_fast.cluster(features.float()))
