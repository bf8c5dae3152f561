"""docker-compose.yml through the real Compose 2, and what it has to hold."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.envoy import CHART, SERVICE, container_config
from tests.conftest import ROOT
from tests.support.compose import compose_command

COMPOSE = ROOT / "docker-compose.yml"
SETTINGS = dict(
    line.split("=", 1) for line in (ROOT / ".env").read_text().splitlines() if line and not line.startswith("#")
)
ALWAYS = {"prometheus", "grafana"}
PROFILES = {
    "gpu": {"build", "triton"},
    "perf": {"build", "triton", "perf"},
    "tls": {"build", "triton", "proxy"},
    "cpu": {"triton-cpu"},
    "scale": {"servers", "envoy"},
    "line": {"line", "mosquitto", "plc"},
}
Service = dict[str, Any]


def configured(**settings: str) -> dict[str, Service]:
    """The services as Compose understands them."""
    compose = compose_command()
    if compose is None:
        pytest.skip("Compose 2 is not installed")
    environment = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    command = [*compose, "--file", str(COMPOSE), "--profile", "*", "config", "--format", "json"]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**environment, **settings}, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert "variable is not set" not in result.stderr, result.stderr
    return dict(json.loads(result.stdout)["services"])


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    return configured()


@pytest.mark.parametrize(
    "settings",
    [
        {"IPC_MODE": "private", "PID_MODE": ""},
        {"TRITON_TAG": "26.09-py3", "TRITON_DIGEST": ""},
        {"GPU": "GPU-4a1b", "TLS_ADDRESS": "0.0.0.0", "MODEL_REPOSITORY": "./best_repository"},
    ],
)
def test_other_settings_are_understood_too(settings: dict[str, str]) -> None:
    found = configured(**settings)
    assert settings.get("TRITON_TAG", SETTINGS["TRITON_TAG"]) in found["triton"]["image"]


def test_every_setting_is_used_and_every_variable_is_set() -> None:
    used = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
    assert used | {"COMPOSE_PROFILES"} == set(SETTINGS)


def test_every_setting_has_a_comment_above_it() -> None:
    lines = (ROOT / ".env").read_text().splitlines()
    for number, line in enumerate(lines):
        if line and not line.startswith("#"):
            above = [previous for previous in lines[:number] if previous.startswith("#") or not previous]
            assert above[-1], f"{line} stands alone"


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_brings_up(services: dict[str, Service], profile: str) -> None:
    started = {name for name, service in services.items() if profile in service.get("profiles", [profile])}
    assert started == PROFILES[profile] | ALWAYS
    for name in started:
        missing = set(services[name].get("depends_on", {})) - started
        assert not missing, f"{name} waits for {missing}, which {profile} does not start"


def test_without_a_profile_there_is_a_gpu() -> None:
    assert SETTINGS["COMPOSE_PROFILES"] == "gpu"


def test_ports_are_on_this_machine_alone(services: dict[str, Service]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 15
    assert all(port["host_ip"] == "127.0.0.1" for port in ports), ports


def test_nobody_is_root_and_nobody_can_become_it(services: dict[str, Service]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        if name not in ("triton-cpu", "servers"):  # whose Dockerfile says it
            assert not service["user"].startswith("0"), name
    assert re.search(r"^USER 1000$", (ROOT / "deploy" / "Dockerfile.cpu").read_text(), re.MULTILINE)


def test_files_of_the_checkout_are_mounted_read_only_and_are_there(services: dict[str, Service]) -> None:
    writable = set()
    for name, service in services.items():
        for mount in service.get("volumes", []):
            if not mount.get("read_only"):
                writable.add((name, mount["target"]))
            if mount["type"] == "bind" and not mount["source"].startswith(SETTINGS["TLS_DIR"]):
                assert Path(mount["source"]).exists(), f"{name} mounts {mount['source']}"
    assert writable == {
        ("build", "/models"),
        ("prometheus", "/prometheus"),
        ("grafana", "/var/lib/grafana"),
        ("perf", "/out"),
        ("line", "/data"),
        ("mosquitto", "/mosquitto/data"),
    }


def test_several_servers_are_the_one_without_its_ports_behind_the_chart_s_envoy(services: dict[str, Service]) -> None:
    one, several, envoy = services["triton-cpu"], services["servers"], services["envoy"]
    own = {"profiles", "ports", "networks", "deploy"}
    assert {k: v for k, v in several.items() if k not in own} == {k: v for k, v in one.items() if k not in own}
    assert several["deploy"]["replicas"] == int(SETTINGS["SERVERS"])
    assert "ports" not in several
    assert {port["target"] for port in envoy["ports"]} == {8000, 8001, 8002}
    assert envoy["image"] == yaml.safe_load((CHART / "values.yaml").read_text())["images"]["envoy"]
    [mount] = envoy["volumes"]
    assert json.loads(Path(mount["source"]).read_text()) == container_config(SERVICE), "run python -m deploy.envoy"
    for service in (one, envoy):  # the line and Prometheus ask for triton
        assert service["networks"]["default"]["aliases"] == ["triton"]


def test_what_ends_by_itself_is_started_again_and_what_is_done_once_is_not(services: dict[str, Service]) -> None:
    once = {name for name, service in services.items() if service["restart"] != "unless-stopped"}
    assert once == {"build", "perf"}


def test_dali_takes_its_newer_executor_as_in_the_pip_server(services: dict[str, Service]) -> None:
    assert services["triton"]["environment"] == {"DALI_USE_EXEC2": "1"}


def test_the_server_starts_after_the_build_and_is_healthy_only_when_all_models_are_ready(
    services: dict[str, Service],
) -> None:
    triton = services["triton"]
    assert triton["depends_on"] == {"build": {"condition": "service_completed_successfully", "required": True}}
    assert "--strict-readiness=true" in triton["command"]
    for name in ("triton", "triton-cpu"):
        assert "/v2/health/ready" in " ".join(services[name]["healthcheck"]["test"])
    for name in ("perf", "proxy"):
        assert services[name]["depends_on"] == {"triton": {"condition": "service_healthy", "required": True}}


def test_a_health_check_asks_no_proxy(services: dict[str, Service]) -> None:
    """Docker hands its own proxy settings to containers."""
    assert services["triton"]["healthcheck"]["test"][:4] == ["CMD", "curl", "--noproxy", "*"]
    [*_, code] = services["triton-cpu"]["healthcheck"]["test"]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = code.replace(":8000/", f":{server.server_port}/")
        environment = {**os.environ, "http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
        result = subprocess.run([sys.executable, "-c", here], env=environment, capture_output=True, text=True)
        server.shutdown()
    assert result.returncode == 0, result.stderr


class Ready(http.server.BaseHTTPRequestHandler):
    """A server that is ready."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/v2/health/ready" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_slow_start_is_waited_for(services: dict[str, Service]) -> None:
    assert services["triton"]["healthcheck"]["start_period"] == "10m0s"


def test_the_build_runs_once_in_the_image_of_the_server(services: dict[str, Service]) -> None:
    build, triton = services["build"], services["triton"]
    assert build["restart"] == "no"
    assert build["build"]["args"]["TRITON_IMAGE"] == triton["image"]
    assert re.fullmatch(r"nvcr\.io/nvidia/tritonserver:\d\d\.\d\d-py3@sha256:[0-9a-f]{64}", triton["image"])
    assert build["build"]["args"]["DALI_VERSION"] == SETTINGS["DALI_VERSION"]
    assert build["deploy"] == triton["deploy"], "a plan is for the GPU that it was built on"


def test_the_server_stops_before_docker_loses_patience(services: dict[str, Service]) -> None:
    [flag] = [flag for flag in services["triton"]["command"] if flag.startswith("--exit-timeout-secs=")]
    assert int(flag.partition("=")[2]) < int(services["triton"]["stop_grace_period"].removesuffix("s"))


def test_a_load_generator_shares_what_shared_memory_needs(services: dict[str, Service]) -> None:
    for key in ("ipc", "pid", "user", "deploy"):
        assert services["perf"][key] == services["triton"][key]


def test_every_flag_of_the_server_has_its_reason_above_it() -> None:
    lines = COMPOSE.read_text().splitlines()
    flags = [
        number for number, line in enumerate(lines) if re.match(r"\s+- --(?!model-repository)[a-z-]+(=\S+)?$", line)
    ]
    assert len(flags) == 10
    for number in flags:
        assert lines[number - 1].lstrip().startswith("# "), lines[number]


def test_no_certificate_is_in_the_project() -> None:
    assert not [*ROOT.glob("deploy/**/*.pem"), *ROOT.glob("deploy/**/*.key"), *ROOT.glob("deploy/**/*.crt")]
