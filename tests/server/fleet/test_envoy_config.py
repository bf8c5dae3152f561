"""Envoy reads what is written for it, and what is written says where each call goes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from triton_yolo.contract import STREAM_HEADER
from triton_yolo.server.fleet.envoy import find_envoy
from triton_yolo.server.fleet.envoy_clusters import CLUSTERS, Endpoint, Files, Name, endpoints, endpoints_file, pipe
from triton_yolo.server.fleet.envoy_config import bootstrap

ADMIN = {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}
ENDPOINTS = [Endpoint("0", "127.0.0.1", 8011, 8010), Endpoint("1", "127.0.0.1", 8021, 8020, admitted=False)]


def validate(config: dict[str, Any], folder: Path) -> None:
    """Let Envoy read a configuration."""
    (folder / "envoy.json").write_text(json.dumps(config))
    command = [find_envoy(), "--mode", "validate", "--config-path", folder / "envoy.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "eprecated" not in done.stderr


def test_envoy_reads_the_configuration_for_servers_in_files(tmp_path: Path) -> None:
    for cluster in CLUSTERS:
        (tmp_path / endpoints_file(cluster)).write_text(json.dumps(endpoints(cluster, ENDPOINTS)))
    control = {kind: pipe(f"{tmp_path}/{kind}") for kind in ("grpc", "http")}
    validate(bootstrap("127.0.0.1", 8001, 8000, Files(str(tmp_path)), 2, ADMIN, control), tmp_path)


def test_envoy_reads_the_configuration_for_servers_behind_a_name(tmp_path: Path) -> None:
    validate(bootstrap("0.0.0.0", 8001, 8000, Name("servers.example"), 8, ADMIN, figures=8002), tmp_path)


def routes(config: dict[str, Any], number: int) -> list[dict[str, Any]]:
    listener = config["static_resources"]["listeners"][number]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return list(manager["route_config"]["virtual_hosts"][0]["routes"])


@pytest.mark.parametrize("listener", [0, 1])
def test_what_is_on_no_list_is_refused_and_shared_memory_only_where_somebody_registers_it(listener: int) -> None:
    without, having = (
        routes(bootstrap("127.0.0.1", 1, 2, Name("a"), 1, ADMIN, control), listener)
        for control in (None, {"grpc": ADMIN, "http": ADMIN})
    )
    assert "direct_response" in without[-1]
    assert [route for route in having if route not in without]
    assert all("control" in route["route"]["cluster"] for route in having if route not in without)


def test_a_stream_s_calls_are_led_by_its_name_before_the_others() -> None:
    seen: dict[str, list[str]] = {}
    for route in routes(bootstrap("127.0.0.1", 1, 2, Name("a"), 1, ADMIN), 0)[:-1]:
        if "headers" in route["match"]:
            assert route["route"]["hash_policy"] == [{"header": {"header_name": STREAM_HEADER}}]
        seen.setdefault(route["match"]["path"], []).append(route["route"]["cluster"])
    assert set(map(tuple, seen.values())) == {("streams", "grpc")}


def test_a_server_that_is_to_finish_is_draining() -> None:
    for cluster in CLUSTERS:
        [resource] = endpoints(cluster, ENDPOINTS)["resources"]
        [group] = resource["endpoints"]
        assert [one["health_status"] for one in group["lb_endpoints"]] == ["UNKNOWN", "DRAINING"]
        ports = [one["endpoint"]["address"]["socket_address"]["port_value"] for one in group["lb_endpoints"]]
        assert ports == ([8010, 8020] if cluster == "http" else [8011, 8021])
        assert [one["endpoint"]["health_check_config"]["port_value"] for one in group["lb_endpoints"]] == [8010, 8020]
