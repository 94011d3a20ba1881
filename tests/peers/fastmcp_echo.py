"""A server of FastMCP with one tool, to compare ours with.

    python3 fastmcp_echo.py [quick]

It is set up as its documentation shows, or, if it is to be quick, so that it does least. Prints
where it listens, and serves until it is killed.
"""

import sys

from fastmcp import FastMCP
from serving import listen, serve

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


listener = listen()
app = server.http_app(path="/mcp", json_response=is_quick, stateless_http=is_quick)
serve(app, listener, is_quick)
