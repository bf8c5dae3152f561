"""Carries messages to the broker, in a thread of its own, over as many connections as it takes.

Each connection begins anew: a client of its own, a session that ends with it, and the oldest message that the broker
has not confirmed. So what waits is in one place, the file, and the order of the file is the order on the wire.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.sinks.mqtt.messages import LARGEST_TRIGGER
from triton_yolo.clients.stream.sinks.mqtt.outbox import Outbox
from triton_yolo.clients.stream.sinks.mqtt.settings import MqttSettings, TlsSettings

RESULTS_QOS = 1  # at least once; numbers tell what came twice, so 2 would add two packets to each and nothing else
WINDOW = 64  # messages that are sent before the broker has confirmed one
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between two attempts to connect
CONNECT_SECONDS = 5.0  # for the connection, and once more for the broker's answer
CONFIRM_SECONDS, CONFIRM_COUNT = 0.5, 256  # confirmed messages are deleted together
REFUSED_SECONDS = 5.0  # until verdicts are sent again that the broker would not take
REFUSES = "the broker refuses "
LAST_SECONDS = 1.0  # for the broker to hear that the line has ended
TRIGGERS_PER_SECOND = 100.0
LARGEST_PACKET = LARGEST_TRIGGER + 1024  # bytes that the broker may send

# Reasons that speak of this message and not of the broker's state: no attempt will do better.
HOPELESS = {"Topic name invalid", "Payload format invalid", "Packet too large"}

logger = logging.getLogger(__name__)


class Lost(Exception):
    """The connection is over; says why."""


class Courier:
    """The thread.

    Attributes:
        trouble: why there is no connection; empty if there is one.
        delivered: messages that a broker has confirmed.
        refused: messages that no broker takes, as too large ones.
        ignored: triggers that were too large, too many, or none.
    """

    def __init__(
        self,
        settings: MqttSettings,
        client: str,
        outbox: Outbox,
        topic: str,
        ended: Mapping[str, bytes],
    ) -> None:
        """Begin.

        Args:
            settings: of the sink.
            client: name of the client.
            outbox: what is to be carried.
            topic: of the line's state.
            ended: that state when the connection is "lost", as the broker says it then, and when the line "ended".
        """
        self.trouble, self.delivered, self.refused, self.ignored = "not connected yet", 0, 0, 0
        self._settings, self._name, self._outbox = settings, client, outbox
        self._topic, self._ended = topic, ended
        self._trigger: tuple[str, Callable[[bytes], bool]] | None = None
        self._lock = threading.Lock()
        self._states: dict[str, bytes] = {}  # the newest of each topic
        self._untold: dict[str, bytes] = {}  # those that were not sent on this connection
        self._awake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._end: float | None = None  # when to give up what is left
        self._away = False  # whether that was logged
        self._allowance, self._allowed = TRIGGERS_PER_SECOND, time.monotonic()
        self._thread = threading.Thread(target=self._run, name="sink-mqtt-courier", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that there is more in the file."""
        os.eventfd_write(self._awake, 1)

    def tell(self, topic: str, payload: bytes) -> None:
        """Publish a state: retained, the newest of each topic, and once more after each connection."""
        with self._lock:
            self._states[topic] = self._untold[topic] = payload
        self.wake()

    def listen(self, topic: str, take: Callable[[bytes], bool]) -> None:
        """Subscribe to triggers, from the next connection on, or on this one.

        Args:
            topic: of triggers.
            take: is called with the content of each, in the courier's thread, and returns whether it was of use.
        """
        self._trigger = topic, take
        self.wake()

    def close(self, seconds: float) -> None:
        """Carry what is left, for a bounded time, and say that the line has ended; the rest stays in the file."""
        self._end = time.monotonic() + seconds
        self.wake()
        self._thread.join(seconds + LAST_SECONDS + CONNECT_SECONDS)
        if not self._thread.is_alive():
            os.close(self._awake)

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while self._end is None:
            connection = _Connection(self)
            try:
                connection.run()
            except (Lost, OSError, ValueError, sqlite3.Error) as error:
                # Some brokers close the connection where they take no message: that is the reason, then.
                self.trouble = self.trouble if connection.refused else _words(error)
            except Exception as error:  # of paho, on a broker that does not keep to the protocol
                logger.exception("mqtt: a connection failed in an unexpected way")
                self.trouble = repr(error)
            finally:
                connection.close()
            if connection.useful:
                pause = FIRST_PAUSE
            if self._end is None:
                if not self._away:
                    self._away = True
                    logger.warning("mqtt: %s: %s; verdicts wait on disk", self._settings.host, self.trouble)
                self._wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _wait(self, seconds: float) -> None:
        """Wait, but not for longer than the end."""
        until = time.monotonic() + seconds
        while self._end is None and (left := until - time.monotonic()) > 0:
            poll = select.poll()
            poll.register(self._awake, select.POLLIN)
            if poll.poll(left * 1000):
                os.eventfd_read(self._awake)
                if self._end is None:
                    time.sleep(min(left, 0.05))  # more in the file is no reason to hurry

    # What follows is called by the connection, in the thread.

    def connected(self) -> None:
        """Take notice that the broker is there."""
        self.trouble = self.trouble if self.trouble.startswith(REFUSES) else ""
        with self._lock:
            self._untold = dict(self._states)
        if self._away and not self.trouble:
            self._away = False
            logger.warning("mqtt: %s is back", self._settings.host)

    def refuse(self, what: str, code: ReasonCode) -> None:
        """Take notice that the broker does not take something now."""
        why = f"{REFUSES}{what}: {code}"
        if self.trouble != why:
            logger.warning("mqtt: %s: %s; verdicts wait on disk", self._settings.host, why)
        self.trouble, self._away = why, True

    def taken(self) -> None:
        """Take notice that the broker takes verdicts."""
        self.delivered += 1
        if self.trouble:
            self.trouble, self._away = "", False
            logger.warning("mqtt: %s takes verdicts again", self._settings.host)

    def untold(self) -> dict[str, bytes]:
        """Return the states that are to be sent."""
        with self._lock:
            states, self._untold = self._untold, {}
            return states

    def may_trigger(self) -> bool:
        """Return whether one more trigger is let through now."""
        now = time.monotonic()
        self._allowance += (now - self._allowed) * TRIGGERS_PER_SECOND
        self._allowance, self._allowed = min(self._allowance, TRIGGERS_PER_SECOND), now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True


class _Connection:
    """One connection, from CONNECT to its end."""

    def __init__(self, courier: Courier) -> None:
        self._courier, self._settings, self._outbox = courier, courier._settings, courier._outbox
        self._sent, self._window = 0, WINDOW  # place of the last one that was sent
        self._largest: int | None = None  # bytes of a packet that the broker takes
        self._waiting: dict[int, int] = {}  # place by packet identifier
        self._confirmed, self._confirmed_since = list[int](), 0.0
        self._refused: tuple[int, float] | None = None  # the first one that was, and when it is sent again
        self._lost = ""
        self._last: int | None = None  # packet identifier of the last state
        self.answered = self._listens = False
        self.useful = self.refused = False  # whether it has delivered something, and whether something was refused
        self._client = Client(CallbackAPIVersion.VERSION2, courier._name, protocol=MQTTv5, reconnect_on_failure=False)

    def run(self) -> None:
        """Connect, and carry until the courier ends.

        Raises:
            Lost: the connection is over.
            OSError: there is none.
            sqlite3.Error: the file cannot be read.
        """
        settings, client, courier = self._settings, self._client, self._courier
        client.connect_timeout = CONNECT_SECONDS
        client.max_inflight_messages_set(0)  # bounded here
        client.will_set(courier._topic, courier._ended["lost"], settings.states, retain=True)
        if settings.user is not None:
            client.username_pw_set(settings.user, read_password(settings))
        if settings.tls:
            client.tls_set_context(tls_context(settings.tls))
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_publish, client.on_message = self._on_publish, self._on_message
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = LARGEST_PACKET
        client.connect(settings.host, port_of(settings), settings.keepalive_s, clean_start=True, properties=properties)
        patience = time.monotonic() + CONNECT_SECONDS
        while True:
            self._step()
            if not self.answered and time.monotonic() > patience:
                raise Lost("the broker does not answer")
            end = courier._end
            if self.answered and end is not None and (self._idle() or time.monotonic() > end):
                self._say_goodbye()
                return
            if not self.answered and end is not None and time.monotonic() > end:
                return

    def close(self) -> None:
        """Let go of the connection, and delete what it has delivered."""
        with contextlib.suppress(sqlite3.Error):
            self._flush()
        if sock := self._client.socket():
            sock.close()

    def _idle(self) -> bool:
        return not self._waiting and not self._outbox.after(self._sent, 1)

    def _step(self) -> None:
        """Send what can be sent, and wait for what comes, a second at most."""
        client = self._client
        if self.answered:
            self._send()
        now = time.monotonic()
        if self._confirmed and (now > self._confirmed_since + CONFIRM_SECONDS or len(self._confirmed) > CONFIRM_COUNT):
            self._flush()
        sock: Any = client.socket()
        if sock is None:
            raise Lost(self._lost or "the connection is lost")
        poll = select.poll()
        poll.register(self._courier._awake, select.POLLIN)
        poll.register(sock, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        pending = hasattr(sock, "pending") and sock.pending() > 0  # of TLS: read already
        wait = CONFIRM_SECONDS if self._confirmed or self._courier._end is not None else 1.0
        found = dict(poll.poll(0 if pending else wait * 1000))
        if self._courier._awake in found:
            os.eventfd_read(self._courier._awake)
        events = found.get(sock.fileno(), 0)
        if pending or events & ~select.POLLOUT:
            self._check(client.loop_read())
        if events & select.POLLOUT and client.socket() is not None:
            self._check(client.loop_write())
        self._check(client.loop_misc())

    def _check(self, code: MQTTErrorCode) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise Lost(self._lost or "the connection is lost")

    def _send(self) -> None:
        if self._courier._trigger and not self._listens:
            self._listens = True
            # One that was published before it could be heard is too old.
            options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
            self._client.subscribe(self._courier._trigger[0], options=options)
        for topic, payload in self._courier.untold().items():
            self._last = self._client.publish(topic, payload, self._settings.states, retain=True).mid
        if self._refused:
            first, again = self._refused
            if time.monotonic() < again:
                return
            self._flush()
            self._refused, self._sent = None, first - 1
        if len(self._waiting) > self._window // 2:
            return
        for kept in self._outbox.after(self._sent, self._window - len(self._waiting)):
            self._sent = kept.place
            if kept.place in self._waiting.values():
                continue
            if self._largest and len(kept.payload) + len(kept.topic) + 64 > self._largest:
                self._courier.refused += 1
                self._confirm(kept.place)
                logger.warning("mqtt: a message of %d bytes is more than the broker takes", len(kept.payload))
                continue
            self._waiting[self._client.publish(kept.topic, kept.payload, RESULTS_QOS).mid] = kept.place
            if self._client.socket() is None:
                return

    def _confirm(self, place: int) -> None:
        if not self._confirmed:
            self._confirmed_since = time.monotonic()
        self._confirmed.append(place)

    def _flush(self) -> None:
        if self._confirmed:
            self._outbox.delivered(self._confirmed)
            self._confirmed = []

    def _say_goodbye(self) -> None:
        """Say that the line has ended, as its last will would."""
        self._flush()
        topic, payload = self._courier._topic, self._courier._ended["ended"]
        self._last = self._client.publish(topic, payload, self._settings.states, retain=True).mid
        if self._settings.states:
            end = time.monotonic() + LAST_SECONDS
            while self._last is not None and time.monotonic() < end:
                self._step()
        self._client.disconnect()

    def _on_connect(self, _: Any, __: Any, ___: Any, code: ReasonCode, properties: Properties | None) -> None:
        if code.is_failure:
            self._lost = f"the broker refuses the connection: {code}"
            return
        self._window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
        self._largest = getattr(properties, "MaximumPacketSize", None)
        self.answered = True
        self._courier.connected()

    def _on_disconnect(self, _: Any, __: Any, flags: Any, code: ReasonCode, ___: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self._lost = self._lost or f"the broker ends the connection: {code}"

    def _on_publish(self, _: Any, __: Any, mid: int, code: ReasonCode, ___: Any) -> None:
        if mid == self._last:
            self._last = None
        place = self._waiting.pop(mid, None)
        if place is None:
            if code.is_failure:
                self._courier.refuse("states", code)
                self.refused = True
            return
        if not code.is_failure:
            self._courier.taken()
            self.useful = True
            self._confirm(place)
        elif str(code) in HOPELESS:
            self._courier.refused += 1
            self._confirm(place)
        else:  # not authorised, a quota: perhaps later
            first = min(place, self._refused[0]) if self._refused else place
            self._refused = first, time.monotonic() + REFUSED_SECONDS
            self._courier.refuse("verdicts", code)
            self.refused = True

    def _on_message(self, _: Any, __: Any, message: MQTTMessage) -> None:
        courier = self._courier
        assert courier._trigger
        small = len(message.payload) <= LARGEST_TRIGGER
        if message.retain or not small or not courier.may_trigger() or not courier._trigger[1](bytes(message.payload)):
            courier.ignored += 1


def port_of(settings: MqttSettings) -> int:
    """Return the broker's port."""
    return settings.port or (8883 if settings.tls else 1883)


def read_password(settings: MqttSettings) -> str | None:
    """Return the password; None where there is none.

    Raises:
        OSError: its file cannot be read.
        ValueError: it is no text.
    """
    if settings.password_file is None:
        return None
    lines = settings.password_file.read_text().splitlines()
    return lines[0] if lines else ""


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """Return how a connection is encrypted; the broker's name is always checked.

    Raises:
        OSError: a file cannot be read, or is none.
    """
    context = ssl.create_default_context(cafile=settings.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.certificate:
        context.load_cert_chain(settings.certificate, settings.key)
    return context


def check_files(settings: MqttSettings) -> None:
    """Read the files that the settings name.

    Raises:
        LineError: one of them cannot be used; says which.
    """
    tls = settings.tls
    named = {"password_file": settings.password_file} | ({f"tls.{k}": v for k, v in tls} if tls else {})
    for key, path in named.items():
        try:
            _ = path and path.read_bytes()
        except OSError as error:
            raise LineError(f"sinks: {key}: {path}: {error.strerror}") from None
    try:
        read_password(settings)
    except ValueError:
        raise LineError(f"sinks: password_file: {settings.password_file}: no text in UTF-8") from None
    try:
        _ = tls and tls_context(tls)
    except OSError as error:
        raise LineError(f"sinks: tls: these are no certificates and key that belong together: {error}") from None


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
