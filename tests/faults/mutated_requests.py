"""Requests of all kinds, mutated by their grammar, and how a server ends them."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2
from tritonclient.utils import np_to_triton_dtype

from tests.faults.mutated_images import mutated_image
from tests.faults.mutated_messages import NUMBERS, ODD, Rng, mutated_json, mutated_message, pick
from tests.server.damage import damaged
from tests.server.pictures import ENCODINGS, picture
from tests.server.sensors import CODES, inputs, model, noise
from tests.server.test_tiles import mutated as mutated_tensors
from triton_yolo.clients.memory.frames import Frames
from triton_yolo.clients.protocols.http_messages import packed
from triton_yolo.clients.request import ENCODED, FRAMES, Request, SharedTensor
from triton_yolo.clients.stream.tile_request import KEY_POSITION, Content, Place, tile_request
from triton_yolo.server.process import Addresses

SECONDS = 60  # a request that has not ended by then hangs
SERVICE = "/inference.GRPCInferenceService/"
REFUSED = {  # by the server; others say that the connection broke, or that nothing came
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.ALREADY_EXISTS,
}
IN_THE_QUEUE = ("Request timeout expired", "Exceeds maximum queue size")
SOURCES = [encode(picture(number, 90, 120)) for number, encode in enumerate(ENCODINGS.values())]
CALLS = ("ModelMetadata", "ModelConfig", "ModelStatistics", "ModelReady", "ServerMetadata", "RepositoryIndex")


def message_of(request: Request) -> service_pb2.ModelInferRequest:
    """A request as gRPC carries it."""
    message = service_pb2.ModelInferRequest(model_name=request.model)
    for name, tensor in {request.input: request.tensor, **request.others}.items():
        kind = "UINT8" if isinstance(tensor, SharedTensor) else np_to_triton_dtype(tensor.dtype)
        described = message.inputs.add(name=name, datatype=kind, shape=tensor.shape)
        if isinstance(tensor, SharedTensor):
            described.parameters["shared_memory_region"].string_param = tensor.region
            described.parameters["shared_memory_byte_size"].int64_param = tensor.byte_size
            described.parameters["shared_memory_offset"].int64_param = tensor.offset
        else:
            message.raw_input_contents.append(tensor.tobytes())
    return message


class Mutations:
    """Sends mutated requests to one server; may be shared by threads."""

    def __init__(self, addresses: Addresses, region: Frames) -> None:
        """Prepare.

        Args:
            addresses: of the server.
            region: frames in shared memory that is registered there, one of [h, w, 3].
        """
        self.addresses, self.region = addresses, region
        self.channel = grpc.insecure_channel(f"{addresses.host}:{addresses.grpc}")
        self.kinds: dict[str, Callable[[Rng], str]] = {
            "JPEG and PNG over gRPC": lambda rng: self.infer(message_of(_image(rng)).SerializeToString()),
            "JPEG and PNG over HTTP": lambda rng: self.post_request(*packed(_image(rng)), ENCODED),
            "raw frames": lambda rng: self.infer(mutated_message(message_of(_frames()), rng)),
            "frames of sensors": lambda rng: self.infer(mutated_message(message_of(_sensor(rng)), rng)),
            "tiles": self.tiles,
            "shared memory": self.shared,
            "regions": self.register,
            "JSON": self.json,
            "JSON before tensors": self.json_before_tensors,
            "protobufs": lambda rng: self.infer(mutated_message(message_of(Request(ENCODED, "image", SOUND)), rng)),
            "other calls": self.other_call,
        }

    def send(self, seed: int) -> tuple[str, str]:
        """Send one mutated request, and return its kind and "answered", "refused", or what else became of it."""
        rng = np.random.default_rng(seed)
        kind = list(self.kinds)[seed % len(self.kinds)]
        return kind, self.kinds[kind](rng)

    def infer(self, wire: bytes, call: str = "ModelInfer") -> str:
        """How a call of gRPC ends whose request is these bytes."""
        try:
            self.channel.unary_unary(SERVICE + call)(wire, timeout=SECONDS)
        except grpc.RpcError as error:
            code, text = error.code(), error.details() or ""
            refused = code in REFUSED or any(words in text for words in IN_THE_QUEUE)
            return "refused" if refused else f"{code}: {text}"
        return "answered"

    def post(self, path: str, body: bytes, headers: dict[str, Any] | None = None) -> str:
        """How a POST ends."""
        head = {"Host": self.addresses.host, "Connection": "close", "Content-Length": len(body), **(headers or {})}
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
        with socket.create_connection((self.addresses.host, self.addresses.http), timeout=SECONDS) as connection:
            connection.sendall("\r\n".join([*lines, "\r\n"]).encode() + body)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        status = answer[9:12].decode()
        if status == "200":
            return "answered"
        return "refused" if status in ("400", "404", "500", "503") and b"error" in answer else f"HTTP: {answer[:200]!r}"

    def post_request(self, body: bytes, headers: dict[str, Any], model: str) -> str:
        """How an inference over HTTP ends."""
        return self.post(f"/v2/models/{model}/infer", body, headers)

    def tiles(self, rng: Rng) -> str:
        """Tiles of a stream that other threads send to, too, some with sound checksums."""
        frame = rng.integers(0, 256, (1, 48, 64, 3), np.uint8)
        place = Place(
            f"mutated {rng.integers(4)}", int(rng.integers(9)), int(rng.integers(9)), int(rng.integers(-1, 9))
        )
        positions = pick(rng, (KEY_POSITION, rng.integers(-9, 99, (1, 2), np.int32)))
        content = Content(positions, coded=np.frombuffer(mutated_image(pick(rng, SOURCES), rng), np.uint8))
        if rng.random() < 0.6:
            content = Content(positions, frame)
        request = tile_request(place, content, {})
        if rng.random() < 0.3:
            return self.infer(mutated_message(message_of(request), rng))
        request = mutated_tensors(request, rng) if rng.random() < 0.3 else request
        return self.infer(message_of(request).SerializeToString())

    def shared(self, rng: Rng) -> str:
        """Places in shared memory that may not be there, over gRPC and HTTP."""
        sound = self.region.part(self.region.shape)
        shape = [int(pick(rng, (1, 2, 60, 80, 3, 4096))) if rng.random() < 0.3 else n for n in sound.shape]
        nearly = (sound.byte_size, sound.byte_size - 1, sound.byte_size + 1, 4096)
        place = SharedTensor(
            pick(rng, (sound.region, sound.region, f"mutated-{rng.integers(9)}", "nowhere", "")),
            int(pick(rng, (*nearly, *NUMBERS))),
            int(pick(rng, (0, 0, *nearly, *NUMBERS))),
            tuple(shape),
        )
        request = Request(FRAMES, "frames", place)
        if rng.random() < 0.5:
            return self.post_request(*packed(request), FRAMES)
        message = message_of(request)
        if rng.random() < 0.5:  # the answer into the same memory
            output = message.outputs.add(name="boxes")
            output.parameters["shared_memory_region"].string_param = sound.region
            output.parameters["shared_memory_byte_size"].int64_param = int(pick(rng, (*nearly, *NUMBERS)))
            output.parameters["shared_memory_offset"].int64_param = int(pick(rng, (*nearly, *NUMBERS)))
        return self.infer(message.SerializeToString())

    def register(self, rng: Rng) -> str:
        """Registrations of memory that is not there, or is smaller than it is said to be."""
        name = f"mutated-{rng.integers(9)}"
        if rng.random() < 0.3:
            wire = service_pb2.SystemSharedMemoryUnregisterRequest(name=name).SerializeToString()
            return self.infer(wire, "SystemSharedMemoryUnregister")
        key = pick(rng, (f"/{self.region.name}", "/nowhere", "", "/", "..", "x" * 300, "/../../etc/passwd"))
        size, offset = int(pick(rng, NUMBERS)), int(pick(rng, NUMBERS))
        if rng.random() < 0.5:
            body = {"key": key, "offset": offset, "byte_size": size}
            return self.post(f"/v2/systemsharedmemory/region/{name}/register", mutated_json(body, rng))
        message = service_pb2.SystemSharedMemoryRegisterRequest(name=name, key=key, offset=offset, byte_size=size)
        wire = message.SerializeToString()
        return self.infer(
            damaged(wire, int(rng.integers(99))) if rng.random() < 0.2 else wire, "SystemSharedMemoryRegister"
        )

    def json(self, rng: Rng) -> str:
        """A request of numbers in JSON."""
        tensor = {"name": "image", "shape": list(SOUND.shape), "datatype": "UINT8", "data": SOUND[0].tolist()}
        content = {"id": "1", "inputs": [tensor], "outputs": [{"name": "boxes"}], "parameters": {"priority": 2}}
        return self.post_request(mutated_json(content, rng), {}, ENCODED)

    def json_before_tensors(self, rng: Rng) -> str:
        """A header in JSON that does not fit what follows."""
        request = pick(rng, (Request(ENCODED, "image", SOUND), _frames(), _sensor(rng)))
        body, headers = packed(request)
        length = int(headers["Inference-Header-Content-Length"])
        header, rest = mutated_json(json.loads(body[:length]), rng), body[length:]
        claimed = pick(rng, (len(header), len(header), len(header), 0, 1, len(header) + 1, 2**31, -1, *ODD[:5]))
        rest = rest[: rng.integers(len(rest) + 1)] if rng.random() < 0.3 else rest
        return self.post_request(header + rest, {**headers, "Inference-Header-Content-Length": claimed}, request.model)

    def other_call(self, rng: Rng) -> str:
        """Another call of the service than inference, with bytes that are for another one."""
        message = service_pb2.ModelMetadataRequest(
            name=pick(rng, ("detect", "nothing", "")), version=pick(rng, ("", "1"))
        )
        wire = message.SerializeToString() + rng.bytes(int(rng.integers(20))) * int(rng.integers(2))
        return self.infer(damaged(wire, int(rng.integers(1 << 31))), pick(rng, CALLS))


def _image(rng: Rng) -> Request:
    image = mutated_image(pick(rng, SOURCES), rng)
    return Request(ENCODED, "image", np.frombuffer(image, np.uint8)[None])


def _frames() -> Request:
    return Request(FRAMES, "frames", picture(0, 60, 80)[None])


def _sensor(rng: Rng) -> Request:
    pixel_format: str = pick(rng, list(CODES))
    tensors: dict[str, Any] = inputs(pixel_format, noise(pixel_format, 60, 80))
    if "blue_position" in tensors and rng.random() < 0.5:
        tensors["blue_position"] = rng.integers(-2, 3, (1, 2), np.int32)
    return Request(model(pixel_format, "detect"), "frames", tensors.pop("frames"), others=tensors)


SOUND = np.frombuffer(SOURCES[0], np.uint8)[None]
