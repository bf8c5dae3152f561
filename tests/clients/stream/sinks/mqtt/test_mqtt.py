"""What a real broker, Debian's mosquitto, gets of a line: each verdict once, in order, and how the line is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.publish import single

from bench.broker import Broker, Subscriber
from tests.clients.commands import run
from tests.clients.stream.sinks.results import inspected, line_status, lost
from tests.conftest import ROOT
from tests.deploy.conftest import tool
from triton_yolo.clients.commands.stream import main
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.events import CameraStatus
from triton_yolo.clients.stream.sinks.mqtt.messages import LARGEST_TRIGGER, schema
from triton_yolo.clients.stream.sinks.mqtt.settings import MqttSettings
from triton_yolo.clients.stream.sinks.mqtt.sink import Mqtt, default_path
from triton_yolo.clients.stream.verdict import BoardVerdict, Verdict

ROOT_TOPIC = "triton-yolo/v1/plant"
STATE, TOP, TRIGGER = f"{ROOT_TOPIC}/NSTATE/line-3", f"{ROOT_TOPIC}/DDATA/line-3/top", f"{ROOT_TOPIC}/NCMD/line-3"
PATIENCE = 60.0


@pytest.fixture
def program() -> str:
    return tool("mosquitto", "the package mosquitto of Debian and Ubuntu")


@pytest.fixture
def broker(program: str, tmp_path: Path) -> Iterator[Broker]:
    with Broker(program, tmp_path / "broker") as running:
        yield running


def settings(port: int, folder: Path, **more: Any) -> MqttSettings:
    content = {"kind": "mqtt", "host": "127.0.0.1", "port": port, "keep": folder / "box", "keepalive_s": 2, **more}
    return MqttSettings.model_validate(content)


def until(condition: Any) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def valid(name: str, content: Any) -> Any:
    """Hold a message against the published schema."""
    import jsonschema  # takes seconds where all its formats are installed

    whole = schema()
    jsonschema.validate(content, {**whole, "anyOf": [{"$ref": f"#/$defs/{name}"}]})
    return content


def numbers(contents: list[dict[str, Any]]) -> list[int]:
    """The numbers of messages, those that came twice left out."""
    found: list[int] = []
    for content in contents:
        if not found or content["seq"] > found[-1]:
            found.append(content["seq"])
    return found


def test_each_frame_is_a_message_of_the_published_schema_in_the_order_of_capture(
    broker: Broker, tmp_path: Path
) -> None:
    with Subscriber(broker.port) as subscriber:
        sink = Mqtt(settings(broker.port, tmp_path), "line-3", boards=False)
        for number in range(20):
            sink.put(inspected("top", number, *[(1, 0.75)] * (number % 2)))
            sink.put(lost("side", number))
        sink.close()
        subscriber.wait(lambda: subscriber.messages[STATE])
    found = [valid("FrameResult", content) for content in subscriber.contents(TOP)]
    assert [content["number"] for content in found] == list(range(20))
    assert [content["seq"] for content in found] == list(range(1, 21))
    assert found[0]["verdict"] == "pass"
    assert found[1]["verdict"] == "fail"
    assert found[1]["detections"][0] == {"box": [10, 20, 30, 40], "score": 0.75, "class": 1, "name": "short"}
    side = [valid("FrameResult", content) for content in subscriber.contents(f"{ROOT_TOPIC}/DDATA/line-3/side")]
    assert {content["verdict"] for content in side} == {"not inspected"}
    assert (sink.missed, sink.status()["waiting"], sink.status()["delivered"]) == (0, 0, 40)


def test_where_boards_are_told_apart_each_board_is_a_message_and_no_frame_is(broker: Broker, tmp_path: Path) -> None:
    with Subscriber(broker.port, f"{ROOT_TOPIC}/DDATA/#") as subscriber:
        sink = Mqtt(settings(broker.port, tmp_path), "line-3", boards=True)
        sink.put(inspected("top", 0))
        sink.put(BoardVerdict("top", 1, Verdict.FAIL, "2 short", 3, 3, 2, ("short", 0.91), (0, 2), 10**18, 2 * 10**18))
        sink.put(BoardVerdict("top", 2, Verdict.NOT_INSPECTED, "no frame came"))
        sink.close()
        subscriber.wait(lambda: subscriber.count == 2)
    first, second = [valid("BoardResult", content) for content in subscriber.contents(TOP)]
    assert (first["board"], first["worst"]) == (1, {"name": "short", "score": 0.91})
    assert (second["verdict"], second["worst"]) == ("not inspected", None)


def test_what_stands_on_an_earlier_frame_says_so_as_the_schema_has_it(broker: Broker, tmp_path: Path) -> None:
    like = inspected("top", 4)
    like = replace(like, result=replace(like.result, age=3))
    with Subscriber(broker.port, f"{ROOT_TOPIC}/DDATA/#") as subscriber:
        for place, (boards, event) in enumerate(
            ((False, like), (True, BoardVerdict("top", 1, Verdict.PASS, "", 5, 5, reused=4))), 1
        ):
            sink = Mqtt(settings(broker.port, tmp_path), "line-3", boards=boards)
            sink.put(event)
            sink.close()
            subscriber.wait(lambda place=place: subscriber.count == place)
    frame, board = subscriber.contents(TOP)
    assert (frame["reused"], frame["age"]) == (True, 3)
    assert board["reused"] == 4
    for name, content in (("FrameResult", frame), ("BoardResult", board)):
        assert set(valid(name, content)) <= set(schema()["$defs"][name]["properties"])


def test_states_are_retained_and_say_so_when_the_line_ends(broker: Broker, tmp_path: Path) -> None:
    sink = Mqtt(settings(broker.port, tmp_path), "line-3", boards=False)
    sink.put(CameraStatus("top", "running", ""))
    sink.put(inspected("top", 7, (0, 0.9)))
    sink.put(line_status("top", away="the server is not available"))
    until(lambda: not sink.status()["away"] and not sink.status()["waiting"])
    camera = f"{ROOT_TOPIC}/DSTATE/line-3/top"
    with Subscriber(broker.port, STATE) as first:
        first.wait(lambda: first.messages[STATE])  # so the broker has it
    with Subscriber(broker.port, f"{ROOT_TOPIC}/+/line-3/#") as subscriber:
        subscriber.wait(lambda: any(content["verdict"] == "fail" for _, content in subscriber.messages[camera]))
        subscriber.wait(lambda: subscriber.messages[STATE])
        retained, content = subscriber.messages[STATE][0]
        assert retained
        assert valid("LineState", content)["online"]
        assert content["server"] == "the server is not available"
        content = valid("CameraState", subscriber.contents(camera)[-1])
        assert (content["state"], content["verdict"], content["number"]) == ("running", "fail", 7)
        sink.put(CameraStatus("top", "waiting", "the camera was unplugged"))
        subscriber.wait(lambda: subscriber.messages[camera][-1][1]["state"] == "waiting")
        assert subscriber.contents(camera)[-1]["verdict"] == "not inspected"
        sink.close()
        subscriber.wait(lambda: not subscriber.messages[STATE][-1][1]["online"])
        assert valid("LineState", subscriber.contents(STATE)[-1])["reason"] == "ended"


LINE = """
import sys, time
from pathlib import Path
from tests.clients.stream.sinks.mqtt.test_mqtt import settings
from tests.clients.stream.sinks.results import inspected, line_status
from triton_yolo.clients.stream.sinks.mqtt.sink import Mqtt
sink = Mqtt(settings(int(sys.argv[1]), Path(sys.argv[2])), "line-3", boards=False)
number = 0
while True:
    for _ in range(25):
        sink.put(inspected("top", number))
        number += 1
    sink.put(line_status("top"))
    while sink.queued:
        time.sleep(0.001)
    print(sink._outbox._last.get("triton-yolo/v1/plant/DDATA/line-3/top", 0), flush=True)
"""


@pytest.mark.slow
def test_after_kill_9_of_the_line_the_broker_says_so_and_what_was_kept_arrives(broker: Broker, tmp_path: Path) -> None:
    kept = 0
    with Subscriber(broker.port) as subscriber:
        for round_ in range(4):
            command = [sys.executable, "-c", LINE, str(broker.port), str(tmp_path)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
                assert process.stdout
                if round_ == 2:
                    broker.kill()
                for _ in range(10 + 3 * round_):
                    kept = max(kept, int(process.stdout.readline()))
                if round_ == 1:
                    subscriber.wait(lambda: subscriber.messages[STATE][-1][1]["online"])
                os.kill(process.pid, signal.SIGKILL)
                kept = max([kept, *map(int, process.stdout.read().split())])
            if round_ == 1:
                subscriber.wait(lambda: not subscriber.messages[STATE][-1][1]["online"])
                assert subscriber.contents(STATE)[-1]["reason"] == "connection lost"
            if round_ == 2:
                sessions = subscriber.sessions
                broker.start()
                subscriber.wait(lambda before=sessions: subscriber.sessions > before)
        sink = Mqtt(settings(broker.port, tmp_path), "line-3", boards=False)
        until(lambda: not sink.status()["waiting"])
        sink.close()
        last = sink._outbox._last[TOP]
        subscriber.wait(lambda: subscriber.messages[TOP][-1][1]["seq"] == last)
    assert last >= kept > 0
    assert numbers(subscriber.contents(TOP)) == list(range(1, last + 1))
    assert len({content["stream"] for content in subscriber.contents(TOP)}) == 1


def test_results_wait_while_the_broker_is_away_and_the_oldest_are_dropped_past_the_bound(
    program: str, tmp_path: Path
) -> None:
    broker = Broker(program, tmp_path / "broker")
    sink = Mqtt(settings(broker.port, tmp_path, keep_mb=0.02), "line-3", boards=False)
    for number in range(500):
        sink.put(inspected("top", number))
    until(lambda: not sink.queued and sink.status()["dropped"])
    assert "refused" in until(lambda: sink.status()["away"]).lower()
    with broker, Subscriber(broker.port) as subscriber:
        until(lambda: not sink.status()["waiting"])
        sink.close()
        subscriber.wait(lambda: subscriber.messages[TOP] and subscriber.messages[TOP][-1][1]["seq"] == 500)
    found = numbers(subscriber.contents(TOP))
    assert found == list(range(found[0], 501))
    assert sink.status()["dropped"] == found[0] - 1 > 0
    assert sink.missed == 0


def test_a_line_that_ends_while_the_broker_is_away_leaves_its_results_for_the_next_start(
    program: str, tmp_path: Path
) -> None:
    broker = Broker(program, tmp_path / "broker")
    sink = Mqtt(settings(broker.port, tmp_path), "line-3", boards=False)
    for number in range(100):
        sink.put(inspected("top", number))
    sink.close()
    assert sink.missed == 0
    with broker, Subscriber(broker.port) as subscriber:
        sink = Mqtt(settings(broker.port, tmp_path), "line-3", boards=False)
        sink.put(inspected("top", 0))
        sink.close()
        subscriber.wait(lambda: len(subscriber.messages[TOP]) >= 101)
    assert numbers(subscriber.contents(TOP)) == list(range(1, 102))


def test_a_broker_that_is_frozen_slows_nothing_and_is_given_up(broker: Broker, tmp_path: Path) -> None:
    with Subscriber(broker.port) as subscriber:
        sink = Mqtt(settings(broker.port, tmp_path), "line-3", boards=False)
        sink.put(inspected("top", 0))
        until(lambda: sink.status()["delivered"] == 1)
        os.kill(broker.pid, signal.SIGSTOP)
        for number in range(1, 300):
            sink.put(inspected("top", number))
        until(lambda: sink.status()["away"])
        assert sink.missed == 0
        os.kill(broker.pid, signal.SIGCONT)
        until(lambda: not sink.status()["waiting"])
        sink.close()
        subscriber.wait(lambda: subscriber.messages[TOP][-1][1]["seq"] == 300)
    assert numbers(subscriber.contents(TOP)) == list(range(1, 301))


class Judge:
    """What a line gives to its sinks as ``trigger``."""

    def __init__(self) -> None:
        self.calls: list[str | None] = []

    def __call__(self, camera: str | None) -> dict[str, int]:
        self.calls.append(camera)
        return {name: len(self.calls) for name in ("top", "side") if camera in (None, name)}


def publish(port: int, payload: bytes | str, retain: bool = False) -> None:
    single(TRIGGER, payload, qos=1, retain=retain, hostname="127.0.0.1", port=port)


def test_a_message_begins_a_board_and_its_id_comes_back_with_the_verdict(broker: Broker, tmp_path: Path) -> None:
    publish(broker.port, b'{"id": "too old"}', retain=True)
    judge = Judge()
    with Subscriber(broker.port, f"{ROOT_TOPIC}/DDATA/#") as subscriber:
        sink = Mqtt(settings(broker.port, tmp_path), "line-3", boards=True)
        sink.trigger = judge
        until(lambda: "NCMD/line-3 (QoS 1)" in broker.log())
        publish(broker.port, b"")
        publish(broker.port, json.dumps({"camera": "top", "id": "board 17"}))
        until(lambda: judge.calls == [None, "top"])
        sink.put(BoardVerdict("top", 1, Verdict.PASS))
        sink.put(BoardVerdict("top", 2, Verdict.PASS))
        sink.close()
        subscriber.wait(lambda: subscriber.count == 2)
    assert [content.get("trigger") for content in subscriber.contents(TOP)] == [None, "board 17"]


def test_a_trigger_of_a_megabyte_and_one_that_is_none_are_harmless(broker: Broker, tmp_path: Path) -> None:
    judge = Judge()
    sink = Mqtt(settings(broker.port, tmp_path), "line-3", boards=True)
    sink.trigger = judge
    until(lambda: "NCMD/line-3 (QoS 1)" in broker.log())
    publish(broker.port, b"x" * 1_000_000)  # the broker does not pass it on
    wrong = [
        b"x" * LARGEST_TRIGGER,
        b"{" * LARGEST_TRIGGER,
        b"\xff\xfe",
        b'{"camera": 1}',
        b'{"camera": "nowhere"}',
        b'{"id": "' + b"i" * 65 + b'"}',
        b'{"what": 1}',
        b"[]",
    ]
    for payload in wrong:
        publish(broker.port, payload)
    publish(broker.port, b"{}")
    until(lambda: None in judge.calls)
    assert judge.calls == ["nowhere", None]
    assert sink.status()["triggers_ignored"] == len(wrong)
    assert not sink.status()["away"]
    sink.close()


def test_more_triggers_than_a_line_can_take_are_ignored(broker: Broker, tmp_path: Path) -> None:
    judge = Judge()
    sink = Mqtt(settings(broker.port, tmp_path), "line-3", boards=True)
    sink.trigger = judge
    until(lambda: "NCMD/line-3 (QoS 1)" in broker.log())
    from paho.mqtt.publish import multiple

    flood = [{"topic": TRIGGER, "payload": b"", "qos": 0}] * 3000
    begun = time.monotonic()
    multiple(flood, hostname="127.0.0.1", port=broker.port)
    until(lambda: len(judge.calls) + sink.status()["triggers_ignored"] >= 2900)
    assert len(judge.calls) <= 100 + 100 * (time.monotonic() - begun) + 1
    assert sink.status()["triggers_ignored"]
    sink.close()


def test_without_triggers_none_is_subscribed_to(broker: Broker, tmp_path: Path) -> None:
    sink = Mqtt(settings(broker.port, tmp_path, triggers=False), "line-3", boards=True)
    sink.put(line_status("top"))
    until(lambda: "NSTATE/line-3" in broker.log())
    sink.close()
    assert "SUBSCRIBE" not in broker.log()


def certificates(folder: Path) -> None:
    """An authority, and certificates of the broker and of a client."""
    openssl = tool("openssl", "the package openssl")

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    authority = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    run("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=plant", *authority)
    for name in ("broker", "line"):
        (folder / f"{name}.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        run("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        by = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext")
        run("x509", "-req", "-in", f"{name}.csr", *by, "-out", f"{name}.crt")


@pytest.fixture
def guarded(program: str, tmp_path: Path) -> Iterator[Broker]:
    """A broker with TLS, which asks for a certificate and a password."""
    certificates(tmp_path)
    passwords = tmp_path / "passwords"
    command = [tool("mosquitto_passwd", "the package mosquitto"), "-b", "-c", str(passwords), "line", "secret"]
    subprocess.run(command, check=True, capture_output=True)
    more = f"password_file {passwords}\nrequire_certificate true\n" + "".join(
        f"{key} {tmp_path / name}\n"
        for key, name in (("cafile", "ca.crt"), ("certfile", "broker.crt"), ("keyfile", "broker.key"))
    )
    with Broker(program, tmp_path / "broker", more, anonymous=False) as running:
        yield running


def test_tls_and_passwords_come_from_files(guarded: Broker, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong\n")
    tls = {"ca": tmp_path / "ca.crt", "certificate": tmp_path / "line.crt", "key": tmp_path / "line.key"}
    more = {"tls": tls, "user": "line", "password_file": tmp_path / "password"}
    sink = Mqtt(settings(guarded.port, tmp_path, **more), "line-3", boards=False)
    sink.put(inspected("top", 0))
    until(lambda: sink.status()["away"] == "the broker refuses the connection: Not authorized")
    (tmp_path / "password").write_text("secret\n")  # is read once more for each connection
    until(lambda: sink.status()["delivered"] == 1)
    sink.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves such a socket to Python
def test_a_broker_whose_certificate_is_of_nobody_known_gets_no_password(guarded: Broker, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    more = {"tls": {}, "user": "line", "password_file": tmp_path / "password"}
    sink = Mqtt(settings(guarded.port, tmp_path, **more), "line-3", boards=False)
    sink.put(inspected("top", 0))
    until(lambda: "certificate verify failed" in sink.status()["away"])
    sink.close()
    assert sink.status()["delivered"] == 0


def test_a_broker_that_takes_no_verdicts_gets_them_once_it_does(program: str, tmp_path: Path) -> None:
    rights = tmp_path / "rights"
    rights.write_text("topic readwrite triton-yolo/v1/plant/NSTATE/#\ntopic readwrite triton-yolo/v1/plant/DSTATE/#\n")
    with Broker(program, tmp_path / "broker", f"acl_file {rights}") as broker:
        sink = Mqtt(settings(broker.port, tmp_path), "line-3", boards=False)
        sink.put(inspected("top", 0))
        until(lambda: sink.status()["away"] == "the broker refuses verdicts: Not authorized")
        assert sink.status()["waiting"] == 1
        rights.write_text("topic readwrite #\n")
        os.kill(broker.pid, signal.SIGHUP)  # it reads its rights once more
        until(lambda: sink.status()["delivered"] == 1 and not sink.status()["away"])
        sink.close()


def test_a_message_that_the_broker_has_no_room_for_holds_up_no_other(program: str, tmp_path: Path) -> None:
    with Broker(program, tmp_path / "broker", "max_packet_size 2000") as broker, Subscriber(broker.port) as subscriber:
        sink = Mqtt(settings(broker.port, tmp_path), "line-3", boards=False)
        sink.put(inspected("top", 0))
        sink.put(inspected("top", 1, *[(1, 0.5)] * 100))
        sink.put(inspected("top", 2))
        until(lambda: sink.status()["delivered"] == 2)
        sink.close()
        subscriber.wait(lambda: len(subscriber.messages[TOP]) == 2)
    assert [content["seq"] for content in subscriber.contents(TOP)] == [1, 3]
    assert sink.status()["refused"] == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"password_file": "nowhere"}, "sinks: password_file: .*nowhere: No such file"),
        ({"tls": {"ca": "text"}}, "sinks: tls: these are no certificates"),
        ({"tls": {"key": "nowhere"}}, "sinks: tls.key: .*nowhere: No such file"),
    ],
)
def test_files_that_cannot_be_used_are_refused_at_the_start(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    (tmp_path / "text").write_text("text")
    here: dict[str, Any] = {
        key: {name: tmp_path / path for name, path in value.items()} if isinstance(value, dict) else tmp_path / value
        for key, value in more.items()
    }
    with pytest.raises(LineError, match=said):
        Mqtt(settings(1, tmp_path, **here), "line-3", boards=False)


def test_without_a_path_the_file_lies_in_the_user_s_folder_for_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path("line-3") == tmp_path / "triton-yolo" / "line-3-mqtt.sqlite"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_path("line-3") == Path.home() / ".local/state/triton-yolo/line-3-mqtt.sqlite"


def test_the_command_prints_the_schema_of_all_messages() -> None:
    result = run(main, "--messages")
    assert result.exit_code == 0
    content = json.loads(result.stdout)
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(content)
    assert {"LineState", "CameraState", "FrameResult", "BoardResult", "Trigger"} <= set(content["$defs"])


def test_a_password_that_would_travel_in_the_clear_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "password").write_text("secret\n")
    more = {"user": "line", "password_file": tmp_path / "password", "host": "broker.invalid"}
    sink = Mqtt(settings(1883, tmp_path, **more), "line-3", boards=False)
    until(lambda: sink.status()["away"] != "not connected yet")
    sink.close()
    assert "the password goes to broker.invalid unencrypted" in caplog.text
    assert "secret" not in caplog.text
