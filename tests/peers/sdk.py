"""A server of the official Python SDK (`mcp`) with one tool, to compare ours with.

    python3 sdk.py [quick]

It is set up as its documentation shows, or, if it is to be quick, so that it does least. Prints
where it listens, and serves until it is killed.
"""

import json
import os
import socket
import sys

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

is_quick = sys.argv[1:] == ["quick"]
server = MCPServer("echo", log_level="ERROR" if is_quick else "INFO")

if is_quick:

    @server.tool(structured_output=False)
    async def echo(text: str) -> str:
        """Repeats a text."""
        return text

else:

    @server.tool()
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
# As it comes, but that the name may stand there without a port.
names = TransportSecuritySettings(allowed_hosts=[host, f"{host}:*"])
app = server.streamable_http_app(
    json_response=is_quick, stateless_http=is_quick, transport_security=names
)
level = "error" if is_quick else "info"
uvicorn.Server(uvicorn.Config(app, log_level=level)).run(sockets=[listener])
