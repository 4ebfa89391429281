"""The Compose file: it parses, and every container is as closed as the design says."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.parts import PARTS

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_compose_accepts_it() -> None:
    command = shutil.which("docker-compose")
    if command is None:
        pytest.skip("docker-compose is not installed")
    subprocess.run([command, "-f", str(ROOT / "docker-compose.yml"), "config", "--quiet"], check=True)


def test_every_part_has_a_container_beside_its_servers_and_the_migrations() -> None:
    assert SERVICES.keys() == {part.name for part in PARTS} | {"postgres", "rabbitmq", "migrate"}
    assert SERVICES["postgres"]["image"] == "postgres:18"
    assert SERVICES["rabbitmq"]["image"].startswith("rabbitmq:4")


def test_only_the_gateways_port_is_published() -> None:
    assert [name for name, service in SERVICES.items() if service.get("ports")] == ["gateway"]
    assert not any(service.get("network_mode") or service.get("privileged") for service in SERVICES.values())


@pytest.mark.parametrize("name", SERVICES)
def test_containers_are_closed(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "/tmp" in service["tmpfs"]  # noqa: S108
    assert "no-new-privileges:true" in service["security_opt"]
    assert int(service["user"].split(":")[0]) > 0


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_parts_wait_for_the_migrations_and_are_watched(part: Any) -> None:
    service = SERVICES[part.name]
    assert service["command"][:2] == ["serve", part.name]
    assert service["healthcheck"]["test"][-1] == service["command"][-1] == str(8000 + part.offset)
    assert service["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert service["depends_on"]["rabbitmq"]["condition"] == "service_healthy"
    needs_webhook_secrets = "C360_WEBHOOK_SECRET_KEY" in service["environment"]
    assert needs_webhook_secrets == (part.name == "gateway")


def test_the_image_runs_as_nobody_special_with_locked_dependencies() -> None:
    lines = (ROOT / "infra/docker/Dockerfile").read_text().splitlines()
    assert "USER c360" in lines
    assert any("--require-hashes" in line for line in lines)
    wanted = (ROOT / "infra/docker/requirements.lock").read_text()
    assert "pytest" not in wanted
    locked = (ROOT / "requirements.lock").read_text()
    assert all(line in locked for line in wanted.splitlines() if "==" in line)
