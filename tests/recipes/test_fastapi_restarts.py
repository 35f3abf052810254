"""The FastAPI recipe under uvicorn, in processes of its own that are stopped, killed and left by their clients."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.shell import environment, wait_until

CUP = {"article": "cup", "price": "3.50"}
Serve = Callable[[], "subprocess.Popen[str]"]


class Site:
    """A folder with the application's files, and an address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=30)

    @property
    def book(self) -> list[str]:
        """What was done in the shop."""
        path = self.folder / "book.txt"
        return path.read_text().splitlines() if path.exists() else []

    def go(self) -> None:
        """Let reservations end."""
        (self.folder / "go").touch()

    def answers(self) -> bool:
        try:
            return self.client.get("/orders/nobody").status_code == 404
        except httpx.TransportError:
            return False

    def status(self, order: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/orders/{order}").json()
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.client.close()


@pytest.fixture
def serve(site: Site) -> Iterator[Serve]:
    """Another process of the application, on the same file and the same port."""
    processes = []

    def serve() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "uvicorn",
                "tests.recipes.gated_orders:app",
                "--port",
                str(site.port),
                "--workers",
                "1",
            ],
            cwd=site.folder,
            env=environment(),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        processes.append(process)
        return process

    yield serve
    for process in processes:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str], text: str) -> None:
    """Wait until the process says something."""
    assert process.stderr is not None
    assert any(text in line for line in process.stderr), "it ended without a word of it"


def place(site: Site) -> None:
    answer = site.client.post("/orders", json=CUP, headers={"Idempotency-Key": "order-1"})
    assert answer.status_code == 202, answer.text


def test_a_rolling_restart_loses_no_order(site: Site, serve: Serve) -> None:
    old = serve()
    wait_until(old, site.answers)
    new = serve()
    said(new, "Waiting for application startup.")
    place(site)
    wait_until(old, lambda: site.book == ["reserve cup"])

    old.send_signal(signal.SIGTERM)
    said(old, "Waiting for application shutdown.")
    assert new.poll() is None
    site.go()
    old.communicate(timeout=30)

    # uvicorn ends by the signal that it was sent, once it has shut down.
    assert old.returncode == -signal.SIGTERM
    wait_until(new, site.answers)
    wait_until(new, lambda: site.status("order-1")["status"] == "completed")
    assert site.book == ["reserve cup", "reserved cup", "charge 3.50"], "nothing was done twice"


def test_the_next_process_goes_on_after_kill_9(site: Site, serve: Serve) -> None:
    old = serve()
    wait_until(old, site.answers)
    place(site)
    wait_until(old, lambda: site.book == ["reserve cup"])

    old.kill()
    old.wait(30)
    site.go()
    new = serve()
    wait_until(new, site.answers)

    wait_until(new, lambda: site.status("order-1")["status"] == "completed")
    assert site.book == ["reserve cup", "reserve cup", "reserved cup", "charge 3.50"]
    again = site.client.post("/orders", json=CUP, headers={"Idempotency-Key": "order-1"})
    assert (again.status_code, again.json()["status"]) == (200, "completed")


def test_a_client_that_hangs_up_does_not_stop_its_order(site: Site, serve: Serve) -> None:
    process = serve()
    wait_until(process, site.answers)
    body = json.dumps(CUP)

    with socket.create_connection(("127.0.0.1", site.port)) as connection:
        connection.sendall(
            f"POST /orders?wait=30 HTTP/1.1\r\nHost: shop\r\nIdempotency-Key: order-1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        wait_until(process, lambda: site.book == ["reserve cup"])
    site.go()

    wait_until(process, lambda: site.status("order-1")["status"] == "completed")
    assert site.book == ["reserve cup", "reserved cup", "charge 3.50"]
