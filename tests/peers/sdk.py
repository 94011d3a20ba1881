"""A server of the official Python SDK (`mcp`) with one tool, to compare ours with.

    python3 sdk.py [quick]

It is set up as its documentation shows, or, if it is to be quick, so that it does least. Prints
where it listens, and serves until it is killed.
"""

import sys

from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from serving import listen, serve

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


listener = listen()
# As it comes, but that the name may stand there without a port.
names = TransportSecuritySettings(allowed_hosts=["127.0.0.1", "127.0.0.1:*"])
app = server.streamable_http_app(
    json_response=is_quick, stateless_http=is_quick, transport_security=names
)
serve(app, listener, is_quick)
