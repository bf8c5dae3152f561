"""The server, in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.common.node import Node
from asyncua.common.subscription import DataChangeNotificationHandlerAsync
from asyncua.server.server import Server
from asyncua.ua.uaerrors import UaError

from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.sinks.opcua.nodes import CAMERA, COMMANDS, LINE, NAMESPACE, Value
from triton_yolo.clients.stream.sinks.opcua.settings import OpcUaSettings
from triton_yolo.clients.stream.sinks.plc.state import LineView

COMMAND_MS = 20  # between two looks at what was written
LARGEST_MESSAGE = 1024 * 1024  # bytes; the library's default is a hundred times that
START_SECONDS = 60.0  # it reads the standard's nodes, which takes a second of an idle core

# It has a word for each connection, and a traceback for each that is cut.
logging.getLogger("asyncua").setLevel(logging.CRITICAL)


class NodeServer:
    """Nodes of a line, which clients read and subscribe to."""

    def __init__(
        self, settings: OpcUaSettings, line: str, cameras: tuple[str, ...], command: Callable[[int, int], None]
    ) -> None:
        """Listen.

        Args:
            settings: of the sink.
            line: name of the line.
            cameras: names of the cameras.
            command: is called with request and acknowledgement, whenever one of them was written.

        Raises:
            LineError: it cannot listen there, or a file cannot be used.
        """
        self._settings, self._line, self._cameras, self._command = settings, line, cameras, command
        self._loop = asyncio.new_event_loop()
        self._started, self._trouble = threading.Event(), ""
        self._nodes: dict[tuple[str, str], Node] = {}
        self._written: dict[tuple[str, str], Any] = {}
        self._thread = threading.Thread(target=self._run, name="sink-opcua-server", daemon=True)
        self._thread.start()
        if not self._started.wait(START_SECONDS):
            self._trouble = "it does not start"
        if self._trouble:
            raise LineError(f"sinks: opcua: {settings.host}:{settings.port}: {self._trouble}")

    def write(self, view: LineView) -> None:
        """Write what has changed, and wait until it stands there.

        Raises:
            OSError: the server has ended.
        """
        if not self._thread.is_alive():
            raise OSError(f"the server has ended: {self._trouble or 'unexpectedly'}")
        asyncio.run_coroutine_threadsafe(self._write(view), self._loop).result()

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._server.bserver.clients) if self._server.bserver else 0

    def close(self) -> None:
        """Close all connections."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except (OSError, ValueError, UaError) as error:
            self._trouble = getattr(error, "strerror", None) or str(error) or type(error).__name__
        finally:
            self._loop.close()
            self._started.set()

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        settings = self._settings
        self._server = server = Server()
        await server.init()
        server.set_server_name("triton-yolo")
        server.allow_remote_admin(False)
        server.set_endpoint(f"opc.tcp://{settings.host}:{settings.port}/triton-yolo")
        server.iserver.max_connections = settings.connections
        server.limits.max_message_size = LARGEST_MESSAGE
        server.limits.max_chunk_count = LARGEST_MESSAGE // server.limits.max_recv_buffer + 1
        policies = [ua.SecurityPolicyType.NoSecurity]
        if settings.certificate and settings.key:
            await server.load_certificate(_file("certificate", settings.certificate))
            await server.load_private_key(_file("key", settings.key))
            policies = [
                ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
                ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
            ]
        server.set_security_policy(policies)
        server.set_identity_tokens([ua.AnonymousIdentityToken])
        commands = await self._make_nodes(await server.register_namespace(NAMESPACE))
        await server.start()
        try:
            subscription = await server.create_subscription(COMMAND_MS, _Commands(commands, self._command))
            await subscription.subscribe_data_change(list(commands))
            self._started.set()
            await self._end.wait()
        finally:
            await server.stop()

    async def _make_nodes(self, space: int) -> Mapping[Node, str]:
        top = await self._server.nodes.objects.add_object(_id(self._line, space), self._line)
        await self._add(top, space, "", LINE)
        folder = await top.add_folder(_id(f"{self._line}/Cameras", space), "Cameras")
        for camera in self._cameras:
            one = await folder.add_object(_id(f"{self._line}/Cameras/{camera}", space), camera)
            await self._add(one, space, camera, CAMERA)
        commands = {}
        for name, _ in COMMANDS:
            place = _id(f"{self._line}/{name}", space)
            node = await top.add_variable(place, name, ua.Variant(0, ua.VariantType.UInt16))
            await node.set_writable()
            commands[node] = name
        return commands

    async def _add(self, parent: Node, space: int, camera: str, values: tuple[Value, ...]) -> None:
        for value in values:
            path = f"{self._line}/Cameras/{camera}/{value.name}" if camera else f"{self._line}/{value.name}"
            kind = ua.VariantType[value.type.removesuffix("[]")]
            empty: Any = [] if value.type.endswith("[]") else None
            variant = ua.Variant(empty, kind, is_array=True) if empty == [] else _empty(kind)
            self._nodes[camera, value.name] = await parent.add_variable(_id(path, space), value.name, variant)

    async def _write(self, view: LineView) -> None:
        for value in LINE:
            await self._put("", value, view)
        for camera, seen in zip(self._cameras, view.cameras, strict=True):
            for value in CAMERA:
                await self._put(camera, value, seen)

    async def _put(self, camera: str, value: Value, view: Any) -> None:
        found = value.of(view)
        if self._written.get((camera, value.name)) != found:
            self._written[camera, value.name] = found
            kind = ua.VariantType[value.type.removesuffix("[]")]
            await self._nodes[camera, value.name].write_value(ua.Variant(found, kind))


class _Commands(DataChangeNotificationHandlerAsync):
    """Takes what clients write."""

    def __init__(self, commands: Mapping[Node, str], command: Callable[[int, int], None]) -> None:
        self._commands, self._command = commands, command
        self._values = {name: 0 for name, _ in COMMANDS}

    async def datachange_notification(self, node: Node, value: Any, data: Any) -> None:
        if isinstance(value, int):
            self._values[self._commands[node]] = value
            self._command(self._values["Request"], self._values["Acknowledge"])


def _id(path: str, space: int) -> ua.NodeId:
    return ua.NodeId(path, space)  # type: ignore[arg-type]  # the library's own types are aliases that it never makes


def _empty(kind: ua.VariantType) -> ua.Variant:
    return ua.Variant(ua.get_default_value(kind), kind)


def _file(key: str, path: Path) -> Path:
    """Return a file that can be read.

    Raises:
        ValueError: it cannot; says why.
    """
    try:
        path.read_bytes()
    except OSError as error:
        raise ValueError(f"{key}: {path}: {error.strerror}") from None
    return path
