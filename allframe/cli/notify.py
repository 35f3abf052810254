"""What a service manager is told: sd_notify(3), in the ten lines that it takes."""

from __future__ import annotations

import os
import socket

from allframe.cli.render import warn

__all__ = ["notify"]


def notify(*states: str) -> None:
    """Tell whoever started us, such as ``READY=1``, if it wants to know: if ``NOTIFY_SOCKET`` names its socket."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # An @ stands for the zero byte of a name that is in no file system.
    where = f"\0{address[1:]}" if address[0] == "@" else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(where)
            sender.sendall("\n".join(states).encode())
    except OSError as error:
        warn(f"NOTIFY_SOCKET={address} cannot be told {states[0]}: {error.strerror}.")
