"""The processes of one training: torchrun starts them, torch.distributed joins them.

Each runs the same loop on its share of every batch. Where one of them fails, all of them end; a
SIGTERM to any of them is known to all before the same update. Both are agreed on by messages of two
numbers over gloo, beside the process group that the gradients take.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from bottomup_fast.errors import InputError
from bottomup_fast.segmenter import choose_device

PATIENCE = timedelta(days=1)
"""How long processes wait for one that validates; one that is gone is noticed at once."""


class FailedElsewhere(Exception):
    """Another process of the training failed, and says why itself."""


class Terminated(SystemExit):
    """SIGTERM has ended the training, its checkpoint written; 143 is what shells call that."""

    def __init__(self, message: str) -> None:
        super().__init__(128 + signal.SIGTERM)
        self.message = message


@dataclass
class Processes:
    """This process among those of a training.

    Attributes:
        rank: of this process, from 0.
        count: of all processes.
        device: of this process.
        stopping: whether all processes know that one of them was told to stop (SIGTERM).
    """

    rank: int
    count: int
    device: torch.device
    stopping: bool = False
    _control: dist.ProcessGroup | None = None
    _terminated: bool = False

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and talks to the user."""
        return self.rank == 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """Surrounds work without communication: where one process fails, all end.

        Raises:
            FailedElsewhere: in all processes but the first of those that failed, which raises what
                it failed with.
        """
        problem: Exception | None = None
        try:
            yield
        except Exception as error:
            problem = error
        urgency = 0 if problem is None else self.count - self.rank
        greatest, stopping = self._reduce([urgency, self._terminated], dist.ReduceOp.MAX)
        self.stopping = bool(stopping)
        if problem is not None and urgency == greatest:
            raise problem
        if greatest:
            raise FailedElsewhere(f"process {self.count - int(greatest)} failed")

    def mean(self, values: Sequence[float]) -> list[float]:
        """Mean over the processes, of every number."""
        return [value / self.count for value in self._reduce(values, dist.ReduceOp.SUM)]

    def replicate(self, module: nn.Module) -> nn.Module:
        """The module with its gradients averaged over the processes."""
        if self.count == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices)

    def _reduce(self, values: Sequence[float], how: dist.ReduceOp.RedOpType) -> list[float]:
        if self._control is None:
            return [float(value) for value in values]
        numbers = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(numbers, how, self._control)
        return numbers.tolist()

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        self._terminated = True


def averaging(module: nn.Module, now: bool) -> AbstractContextManager[None]:
    """Surrounds forward and backward of a replicated module: `now`, or once for several batches."""
    if now or not isinstance(module, DistributedDataParallel):
        return nullcontext()
    return module.no_sync()


@contextmanager
def join(device: str = "cpu") -> Iterator[Processes]:
    """Join the other processes if torchrun has started this one, and take note of SIGTERM.

    Args:
        device: a torch device or "auto"; with several processes on GPUs each takes its own.

    Raises:
        InputError: an unknown device, or fewer GPUs than processes.
        FailedElsewhere: another process is gone, as communication inside notices.
    """
    count = int(os.environ.get("WORLD_SIZE", 1)) if "RANK" in os.environ else 1
    if count == 1:
        processes = Processes(0, 1, choose_device(device))
    else:
        own = _own_device(device, int(os.environ.get("LOCAL_RANK", 0)))
        backend = "nccl" if own.type == "cuda" else "gloo"
        store, rank, count = next(rendezvous("env://"))
        store = _fresh_part(store, rank, count)
        dist.init_process_group(backend, store=store, rank=rank, world_size=count)
        # The return type allows for processes outside of a group; none is.
        control = cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=PATIENCE))
        processes = Processes(rank, count, own, _control=control)
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, processes._terminate) if main else None
    try:
        with _survived():
            yield processes
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
        if count > 1:
            dist.destroy_process_group()


@contextmanager
def _survived() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise FailedElsewhere(f"another process is gone ({str(error).splitlines()[0]})") from error


def _fresh_part(store: Store, rank: int, count: int) -> Store:
    """A part of the store that only the processes started together know.

    torchrun keeps its store when it starts processes again, and in it the addresses of those that
    are gone, to which the new ones would try to connect. So every process shows a new name, and the
    first answers all names with one for the part, until all others have taken it.
    """
    name = uuid.uuid4().hex
    if rank > 0:
        store.set(f"newcomer/{rank}", name)
        part = store.get(f"part/{name}").decode()
        store.set(f"taken/{part}/{rank}", "")
        return PrefixStore(part, store)
    waiting = set(range(1, count))
    while waiting:
        for other in list(waiting):
            # The name may still be that of a process that is gone: it is read again.
            newcomer = store.get(f"newcomer/{other}").decode()
            store.set(f"part/{newcomer}", name)
            if store.check([f"taken/{name}/{other}"]):
                waiting.remove(other)
        time.sleep(0.02)
    return PrefixStore(name, store)


def _own_device(device: str, local_rank: int) -> torch.device:
    chosen = choose_device(device)
    if chosen.type != "cuda":
        return chosen
    if device not in ("auto", "cuda"):
        raise InputError(f"device: {device}, but with several processes each takes its own GPU")
    if local_rank >= torch.cuda.device_count():
        raise InputError(
            f"device: process {local_rank} of this machine has no GPU of its own; torch finds "
            f"{torch.cuda.device_count()}"
        )
    own = torch.device("cuda", local_rank)
    torch.cuda.set_device(own)
    return own
