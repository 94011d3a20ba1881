"""A server of FastMCP with one tool, to compare ours with.

    python3 fastmcp_echo.py [quick]

It is set up as its documentation shows, or, if it is to be quick, so that it does least. Prints
where it listens, and serves until it is killed.
"""

import json
import os
import socket
import sys

import uvicorn
from fastmcp import FastMCP

is_quick = sys.argv[1:] == ["quick"]
server = FastMCP("echo")

if is_quick:

    @server.tool(output_schema=None)
    async def echo(text: str) -> str:
        """Repeats a text."""
        return text

else:

    @server.tool
    def echo(text: str) -> str:
        """Repeats a text."""
        return text


# The protocol is named, or else small replies would wait for the client's acknowledgement.
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.bind(("127.0.0.1", 0))
listener.listen(1024)
host, port = listener.getsockname()
print(json.dumps({"listen": f"{host}:{port}"}), flush=True)
# Nobody reads on: what it logs goes nowhere.
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
app = server.http_app(path="/mcp", json_response=is_quick, stateless_http=is_quick)
level = "error" if is_quick else "info"
uvicorn.Server(uvicorn.Config(app, log_level=level)).run(sockets=[listener])
