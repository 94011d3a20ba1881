"""The official Python client (`mcp`) is refused, finds the authorization server, and comes back.

    python3 authorized.py URL

Prints one line of JSON: how many times it was sent to the authorization server, and its sessions.
"""

import json
import sys
import urllib.parse

import anyio
import httpx2
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import OAuthClientMetadata

LIMIT_SECS = 60


class Memory:
    """Keeps what the client is given."""

    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


async def main(url: str) -> None:
    visits = []

    async def redirect(address: str) -> None:
        # What a browser would do, with a user who agrees.
        async with httpx2.AsyncClient() as browser:
            answer = await browser.get(address, follow_redirects=False)
        visits.append(answer.headers["location"])

    async def callback() -> AuthorizationCodeResult:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(visits[-1]).query)
        return AuthorizationCodeResult(code=query["code"][0], state=query["state"][0])

    metadata = OAuthClientMetadata(
        redirect_uris=["http://127.0.0.1:1/callback"], client_name="simward's tests"
    )
    provider = OAuthClientProvider(url, metadata, Memory(), redirect, callback)
    async with create_mcp_http_client(auth=provider) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport) as client:
            result = await client.call_tool("list_sessions", {})
    sessions = result.structured_content["sessions"]
    print(json.dumps({"redirects": len(visits), "sessions": sessions}))


async def within_limits() -> None:
    with anyio.fail_after(LIMIT_SECS):
        await main(sys.argv[1])


anyio.run(within_limits)
