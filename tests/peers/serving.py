"""What the servers that ours is compared with have in common: where they listen, and how they serve."""

import json
import os
import socket

import uvicorn


def listen() -> socket.socket:
    """Listens on a port that the system picks, and prints where."""
    # The protocol is named, or else small replies would wait for the client's acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    host, port = listener.getsockname()
    print(json.dumps({"listen": f"{host}:{port}"}), flush=True)
    # Nobody reads on: what it logs goes nowhere.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return listener


def serve(app, listener: socket.socket, is_quick: bool) -> None:
    """Serves until it is killed."""
    level = "error" if is_quick else "info"
    uvicorn.Server(uvicorn.Config(app, log_level=level)).run(sockets=[listener])
