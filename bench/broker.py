"""A real broker, mosquitto, that is killed and restarted, and a subscriber that notes what arrives."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from triton_yolo.server.process import free_addresses

PATIENCE = 60.0  # seconds

CONFIGURATION = """\
{listener}
allow_anonymous {anonymous}
persistence true
persistence_location {folder}/
autosave_interval 0
max_queued_messages 0
max_inflight_messages 0
{more}
"""


class Broker:
    """Mosquitto on a port of its own of 127.0.0.1; a context manager.

    It writes what it holds when it ends in order and at no other time: after a kill it has the sessions of the last
    orderly end.
    """

    def __init__(self, program: str, folder: Path, more: str = "", *, anonymous: bool = True) -> None:
        """Prepare.

        Args:
            program: path of mosquitto.
            folder: for its files.
            more: further lines of its configuration.
            anonymous: whether it asks for no password.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_addresses().grpc
        self._program, self._configuration = program, folder / "mosquitto.conf"
        self._log = folder / "mosquitto.log"
        words = {"listener": f"listener {self.port} 127.0.0.1", "folder": folder, "more": more}
        # It drops its rights where root starts it, and could not write there then.
        user = "user root\n"
        self._configuration.write_text(user + CONFIGURATION.format(anonymous=str(anonymous).lower(), **words))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self._log.open("ab") as log:
            command = [self._program, "-c", str(self._configuration), "-v"]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), contextlib.closing(_connection(self.port)):
                return
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"mosquitto does not listen: {self.log()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in order."""
        if self._process:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process
        return self._process.pid

    def log(self) -> str:
        """What it has said."""
        return self._log.read_text()


def _connection(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=1)


class Subscriber:
    """Notes what arrives, in a session that the broker keeps; a context manager.

    Attributes:
        messages: by topic, in the order of their arrival: retained, content.
        count: how many have arrived.
    """

    def __init__(self, port: int, topics: str = "#", keep: bool = True) -> None:
        """Prepare.

        Args:
            port: of the broker at 127.0.0.1.
            topics: what to subscribe to.
            keep: whether messages are kept, or only their numbers by topic.
        """
        self.messages: dict[str, list[tuple[bool, Any]]] = defaultdict(list)
        self.count, self._port, self._topics, self._keep = 0, port, topics, keep
        self._told = threading.Condition()
        self.sessions = 0
        self._client = Client(CallbackAPIVersion.VERSION2, f"subscriber-{port}", protocol=MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect, self._client.on_message = self._connected, self._message
        self._client.on_subscribe = self._subscribed

    def __enter__(self) -> Subscriber:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", self._port, 60, clean_start=False, properties=properties)
        self._client.loop_start()
        self.wait(lambda: self.sessions)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def wait(self, condition: Any, seconds: float = PATIENCE) -> Any:
        """Wait until something holds, and return it.

        Raises:
            TimeoutError: it does not.
        """
        with self._told:
            if not self._told.wait_for(condition, seconds):
                raise TimeoutError(f"after {self.count} messages: {dict(self.messages)!r:.2000}")
            return condition()

    def contents(self, topic: str) -> list[Any]:
        """Return what has arrived in a topic."""
        with self._told:
            return [content for _, content in self.messages[topic]]

    def _connected(self, client: Client, *_: Any) -> None:
        client.subscribe(self._topics, qos=1)

    def _subscribed(self, *_: Any) -> None:
        with self._told:
            self.sessions += 1
            self._told.notify_all()

    def _message(self, _: Any, __: Any, message: MQTTMessage) -> None:
        content: Any = json.loads(message.payload) if message.payload else {}
        with self._told:
            self.count += 1
            self.messages[message.topic].append((message.retain, content if self._keep else content.get("seq")))
            self._told.notify_all()
