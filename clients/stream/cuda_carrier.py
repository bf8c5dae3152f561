"""Frames of the ring on their way through a GPU: a DMA moves those of all cameras into memory that the server has open.

The ring's pages are locked, so that the GPU reads them itself; without that, CUDA copies frames to memory of its own
first. Each request has a region of its own, and frames that do not lie side by side in the ring do so there: a tick is
one request for each format and size.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from triton_yolo.clients.errors import DetectionError, RegionInUse
from triton_yolo.clients.memory.cuda import CudaFrames, current_device
from triton_yolo.clients.memory.registration import unregister
from triton_yolo.clients.memory.ring import Ring
from triton_yolo.clients.protocols.base import Protocol
from triton_yolo.clients.request import SharedTensor
from triton_yolo.clients.stream.carriers import Carrier, Parcel, order_of, request_for, runs
from triton_yolo.clients.stream.frames import ENCODED, Frame

logger = logging.getLogger(__name__)


class CudaCarrier(Carrier):
    """Requests name the place in a region of CUDA memory, which the server has mapped."""

    copies = 1  # by the GPU

    def __init__(self, protocol: Protocol, in_flight: int) -> None:
        """See Carrier.

        Args:
            protocol: see Carrier.
            in_flight: number of ticks for which there are regions from the beginning.

        Raises:
            DetectionError: there is no GPU, or its package is not installed.
        """
        super().__init__(protocol)
        current_device()
        self._in_flight = in_flight
        self._known: set[str] = set()
        self._locked: dict[str, int] = {}
        self._idle: list[CudaFrames] = []
        self._busy: dict[str, CudaFrames] = {}

    def attach(self, ring: Ring) -> None:
        """Lock the ring's pages once; regions are registered when they are made, and again where the server is new.

        A ring that is known comes once more only then; where there are several, each of them sees to it.
        """
        from cuda.bindings import runtime

        if ring.name not in self._locked:
            address = ring.slot(0, 0).ctypes.data
            size = ring.rows * ring.columns * ring.stride
            [code] = runtime.cudaHostRegister(address, size, runtime.cudaHostRegisterPortable)
            if code == runtime.cudaError_t.cudaSuccess:
                self._locked[ring.name] = address
            else:
                logger.warning("the ring's pages cannot be locked (%s): frames are copied once more", code.name)
        if ring.name in self._known:
            for region in [*self._idle, *self._busy.values()]:
                self._register_again(region)
        else:  # no frame waits for memory: the first one would wait for CUDA's start, too
            self._known.add(ring.name)
            self._idle += [self._new_region(ring.columns * ring.stride) for _ in range(self._in_flight)]

    def detach(self, ring: Ring) -> None:
        """See Carrier."""
        from cuda.bindings import runtime

        self._known.discard(ring.name)
        address = self._locked.pop(ring.name, None)
        if address is not None:
            runtime.cudaHostUnregister(address)

    def parcels(self, frames: Sequence[Frame], parameters: Mapping[str, float | int]) -> list[Parcel]:
        """See Carrier; encoded frames travel in their requests, since the server decodes them on the host."""
        found = []
        for _, alike in groupby(sorted(frames, key=order_of), key=lambda frame: order_of(frame)[:2]):
            group = tuple(alike)
            if group[0].pixel_format == ENCODED:
                for frame in group:
                    pixels = frame.place.pixels((1, *frame.shape))
                    found.append(Parcel(request_for(frame, pixels, 1, parameters), (frame,)))
                continue
            region = self._region(len(group) * group[0].capture.nbytes)
            self._copy(region, group)
            shape = (len(group), *group[0].shape)
            tensor = SharedTensor(region.name, int(np.prod(shape)), 0, shape)
            found.append(Parcel(request_for(group[0], tensor, len(group), parameters), group))
            self._busy[region.name] = region
        return found

    def done(self, parcel: Parcel) -> None:
        """See Carrier."""
        tensor = parcel.request.tensor
        if isinstance(tensor, SharedTensor) and tensor.region in self._busy:
            self._idle.append(self._busy.pop(tensor.region))

    def close(self) -> None:
        """See Carrier."""
        for region in [*self._idle, *self._busy.values()]:
            region.close()
        self._idle.clear()
        self._busy.clear()

    def _region(self, nbytes: int) -> CudaFrames:
        """Return a region that no request uses, with room for so many bytes."""
        for region in self._idle:
            if region.nbytes >= nbytes:
                self._idle.remove(region)
                return region
        return self._new_region(nbytes)

    def _new_region(self, nbytes: int) -> CudaFrames:
        region = CudaFrames((1, 1, -(-nbytes // 3), 3), self._protocol)
        region.register()
        return region

    def _register_again(self, region: CudaFrames) -> None:
        try:
            unregister(self._protocol, "cuda", region.name)
        except RegionInUse:
            return  # a request reads it: the server has it
        region.register()

    def _copy(self, region: CudaFrames, group: Sequence[Frame]) -> None:
        """Move frames behind one another: a DMA for each run that lies so in the ring already."""
        from cuda.bindings import runtime

        offset, _ = 0, current_device()
        for run in runs(group):
            nbytes = sum(frame.capture.nbytes for frame in run)
            source = run[0].place.pixels(run[0].shape).ctypes.data
            [code] = runtime.cudaMemcpyAsync(
                region.address + offset, source, nbytes, runtime.cudaMemcpyKind.cudaMemcpyHostToDevice, 0
            )
            if code != runtime.cudaError_t.cudaSuccess:
                raise DetectionError(f"frames cannot be copied to the GPU: {code.name}")
            offset += nbytes
        [code] = runtime.cudaStreamSynchronize(0)
        if code != runtime.cudaError_t.cudaSuccess:
            raise DetectionError(f"frames cannot be copied to the GPU: {code.name}")
