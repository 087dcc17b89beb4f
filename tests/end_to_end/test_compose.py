"""docker-compose.yml without Docker: each service's own command and environment, as processes of this machine."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import torch
from jsonschema import Draft7Validator
from processes import free_port, wait_until
from ruamel.yaml import YAML
from sqlalchemy import create_engine, make_url, text

from service.client import Client
from service.client.transport import ClientError
from workers.environment import ray_token

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text())


class Machine:
    """Runs services of the file: names of hosts, ports and mounted secrets become this machine's own."""

    def __init__(self, services: dict[str, Any], folder: Path, database_url: str) -> None:
        self.services, self.folder = services, folder
        self.started: list[subprocess.Popen[bytes]] = []
        self.supervised: list[tuple[subprocess.Popen[bytes], str, tuple[str, ...], dict[str, str]]] = []
        url = make_url(database_url)
        address = "postgresql://nfa:${NFA_POSTGRES_PASSWORD:?put it into .env}@postgres:5432/nfa"
        self.changes = {
            address: url.render_as_string(hide_password=False),
            "${NFA_OTLP_ENDPOINT:-}": "",
            "${NFA_OTLP_HEADERS:-}": "",
            "/run/secrets/ray_token": str(ray_token(folder / "ray_token")),
            "ray-head:6379": (ray := f"127.0.0.1:{free_port()}"),
            "127.0.0.1:6379": ray,
            "--port=6379": f"--port={ray.partition(':')[2]}",
        }

    def command(self, name: str, **changes: str) -> tuple[list[str], dict[str, str]]:
        """A service's command and environment here."""
        service = self.services[name]
        words = [self._here(changes.get(str(word), str(word))) for word in service["command"]]
        words[0] = str(BIN / words[0])
        environment = {key: self._here(str(value)) for key, value in service["environment"].items()}
        plain = {key: value for key, value in os.environ.items() if not key.startswith(("NFA_", "RAY_"))}
        return words, plain | {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"} | environment

    def start(self, name: str, *more: str, **changes: str) -> subprocess.Popen[bytes]:
        words, environment = self.command(name, **changes)
        log = (self.folder / f"{name}-{len(self.started)}.log").open("wb")
        process = subprocess.Popen([*words, *more], env=environment, stdout=log, stderr=log)
        self.started.append(process)
        if self.services[name].get("restart") == "unless-stopped":
            self.supervised.append((process, name, more, changes))
        return process

    def last_log(self) -> str:
        """What the command started last has said so far."""
        return max(self.folder.glob("*.log"), key=lambda log: int(log.stem.rpartition("-")[2])).read_text()

    def tend(self) -> None:
        """Start again what has ended although it should run, as the file's restart policies say."""
        ended = [one for one in self.supervised if one[0].poll() is not None]
        self.supervised = [one for one in self.supervised if one[0].poll() is None]
        for _, name, more, changes in ended:
            self.start(name, *more, **changes)

    def is_healthy(self, name: str) -> bool:
        """What the service's own health check says."""
        kind, *words = (self._here(word) for word in self.services[name]["healthcheck"]["test"])
        assert kind == "CMD"
        _, environment = self.command(name)
        return (
            subprocess.run(
                [str(BIN / words[0]), *words[1:]], env=environment, capture_output=True, check=False
            ).returncode
            == 0
        )

    def stop(self) -> None:
        self.supervised.clear()
        for process in reversed(self.started):
            process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()

    def _here(self, word: str) -> str:
        if word == "/tmp/nfa":
            return str(self.folder / "home")
        for there, here in self.changes.items():
            word = word.replace(there, here)
        return word


@pytest.fixture
def machine(compose: dict[str, Any], postgresql: str) -> Iterator[Machine]:
    engine = create_engine(make_url(postgresql).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE nfa_compose"))
    engine.dispose()
    # short: paths of Ray's sockets may not pass 107 bytes
    folder = Path(tempfile.mkdtemp(prefix="nfa-c-", dir="/tmp"))
    found = Machine(compose["services"], folder, str(make_url(postgresql).set(database="nfa_compose")))
    yield found
    found.stop()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_sweep_goes_through_the_services_of_the_compose_file(machine: Machine, tiny_grid: Any) -> None:
    ray_files = f"--temp-dir={machine.folder}"
    here = ["--node-ip-address=127.0.0.1", "--object-store-memory=100000000"]
    machine.start("ray-head", ray_files, *here)
    # each look at its health is a Python of its own
    wait_until(lambda: machine.tend() or "Ray runtime started" in machine.last_log())
    assert machine.start("migrate").wait(120) == 0

    ports = [free_port(), free_port()]
    early = machine.start("api", **{"8000": str(ports[0])})
    assert early.wait(120) == 4, "it must not listen on every address before there is a token"
    machine.supervised.pop()  # it would be started again until there is one
    words, environment = machine.command("migrate")
    made = subprocess.run(
        [words[0], "token", "create", "admin", "--scope", "admin"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    wait_until(lambda: machine.tend() or machine.is_healthy("ray-head"))
    apis = [machine.start("api", **{"8000": str(port)}) for port in ports]
    for _ in range(2):
        machine.start("ray-worker", "--num-cpus=1", *here)
        # one after the other: two nodes that start on one machine at once may wait for each other's files until they
        # give up; containers have files of their own
        wait_until(lambda: machine.tend() or "Ray runtime started" in machine.last_log())
    machine.start("dispatcher")

    clients = [Client(f"http://127.0.0.1:{port}", made.stdout.strip(), retries=6) for port in ports]
    wait_until(lambda: machine.tend() or _trainers(clients[1]) >= 1)
    page = httpx.get(f"{clients[1].url}/cluster", headers={"authorization": f"Bearer {made.stdout.strip()}"})
    assert page.status_code == 200 and torch.__version__ in page.text
    submitted = clients[0].submit(tiny_grid())
    wait_until(lambda: machine.tend() or clients[1].experiment(submitted.id).progress == 1)
    assert clients[1].experiment(submitted.id).state == "completed"
    assert clients[1].results(submitted.id, agg=["count"])["alignment_count"].to_list() == [3, 3]
    with pytest.raises(ClientError, match="token"):
        Client(clients[0].url).experiment(submitted.id)
    for client in clients:
        client.close()
    for api in apis:
        assert _listens_on(api) == {port for port in ports if port in _listens_on(api)} != set()


def _trainers(client: Client) -> int:
    try:
        return sum(len(one.resources.get("trainers", ())) for one in client.cluster().dispatchers)
    except ClientError:
        return 0


def _listens_on(process: subprocess.Popen[bytes]) -> set[int]:
    connections = psutil.Process(process.pid).net_connections(kind="inet")
    return {one.laddr.port for one in connections if one.status == psutil.CONN_LISTEN}


def test_services_are_checked_confined_and_keep_secrets_out_of_the_file(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {"postgres", "migrate", "api", "dispatcher", "ray-head", "ray-worker", "ray-worker-gpu"} == set(services)
    assert services["api"]["deploy"]["replicas"] == 2 and services["ray-worker-gpu"]["profiles"] == ["gpu"]
    for name, service in services.items():
        assert "healthcheck" in service or name == "migrate", name
        published = service.get("ports", [])
        assert published == [] or (name == "api" and all(port.startswith("127.0.0.1:") for port in published))
        if name != "postgres":
            assert service["read_only"] and service["user"] == "10001:10001" and service["cap_drop"] == ["ALL"], name
        has_database = "NFA_DATABASE_URL" in service.get("environment", {})
        assert has_database == (name in ("migrate", "api", "dispatcher")), name
    for name in ("ray-head", "ray-worker", "ray-worker-gpu"):
        assert services[name]["environment"]["RAY_AUTH_MODE"] == "token"
    text_ = (ROOT / "docker-compose.yml").read_text()
    assert set(re.findall(r"(?:PASSWORD: |nfa:)(\S+)", text_)) >= {"${NFA_POSTGRES_PASSWORD:?put"}
    assert not re.search(r"(?:PASSWORD: |nfa:)(?!\$|0\.1\.0)\S", text_), "a password in the file"


def _services() -> dict[str, Any]:
    return YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text())["services"]


def test_the_file_fits_the_schema_of_compose(compose: dict[str, Any]) -> None:
    """compose-spec.json is that of compose-spec/compose-spec at 170098b (June 2026), Apache License 2.0."""
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text())
    problems = [f"{error.json_path}: {error.message}" for error in Draft7Validator(schema).iter_errors(compose)]
    assert problems == []
    wrong = compose | {"services": {"api": compose["services"]["api"] | {"reed_only": True}}}
    assert list(Draft7Validator(schema).iter_errors(wrong)), "it would not notice a misspelled key"


def test_the_image_is_built_in_stages_from_pinned_bases_and_runs_as_nobody_special() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert {"cpu", "cuda"} <= {line.split()[-1] for line in lines if line.startswith("FROM ")}
    assert all(base in ("${PYTHON}", "base", "build") for base in bases)
    assert any(re.fullmatch(r"ARG PYTHON=python:\d+\.\d+\.\d+-slim-\w+", line) for line in lines)
    assert lines.count("USER 10001:10001") == 2
    last = {name: lines[lines.index(f"FROM base AS {name}") :] for name in ("cpu", "cuda")}
    for name, stage in last.items():
        # nothing that was used for building is copied but the finished environment
        assert [line for line in stage if line.startswith(("COPY", "RUN"))][:1] == [
            f"COPY --from=build-{name} /opt/nfa /opt/nfa"
        ]
    assert all(re.search(r":\d+\.\d+", service["image"]) for service in _services().values()), "pinned"
    copied = {
        word.rstrip("/")
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert all((ROOT / name).exists() for name in copied)
