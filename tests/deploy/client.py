"""An MCP client of nothing but Python's standard library, for machines where nothing else is.

client.py URL [--token TOKEN] try                     makes a session, steps a scene in it, and closes it
client.py URL [--token TOKEN] call TOOL [ARGUMENTS]   calls any tool, with arguments in JSON
client.py URL [--token TOKEN] load                    steps sessions of its own without a pause, and compares

`load` goes on until its standard input ends. It counts every step that was acknowledged, and tells at
the end what the daemon counted, in one line of JSON. A call that was cut off is tried again, as a
client would; a refused connection is counted, and means that nobody held the socket.
"""

import argparse
import http.client
import json
import sys
import threading
import time
import urllib.parse

VERSION = "2026-07-28"


class Refused(Exception):
    """The tool said no."""


class Unavailable(Exception):
    """The daemon is being replaced."""


class Client:
    """Calls tools, each call for itself."""

    def __init__(self, url, token=None, patience=120):
        self.address = urllib.parse.urlsplit(url)
        self.token = token
        self.patience = patience
        self.connection = None

    def call(self, tool, **arguments):
        """The structured content of the tool's answer."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "deploy", "version": "0"},
        }
        params = {"name": tool, "arguments": arguments, "_meta": meta}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": VERSION,
            "mcp-method": "tools/call",
            "mcp-name": tool,
        }
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        try:
            status, answer = self.post(json.dumps(body), headers)
        except (OSError, http.client.HTTPException):
            self.connection = None
            raise
        if status == 503:
            raise Unavailable(answer)
        if status != 200:
            raise Refused(f"{tool}: HTTP {status}: {answer}")
        answer = json.loads(answer)
        if "error" in answer:
            raise Refused(f"{tool}: {answer['error']}")
        result = answer["result"]
        if result.get("isError"):
            raise Refused(f"{tool}: {result['structuredContent']}")
        return result["structuredContent"]

    def post(self, body, headers):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(
                self.address.hostname, self.address.port, timeout=self.patience
            )
        self.connection.request("POST", self.address.path, body, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read().decode()


class Load(threading.Thread):
    """One session that is stepped again and again."""

    STEPS = 20

    def __init__(self, url, token, done):
        super().__init__()
        self.client = Client(url, token)
        self.done = done
        self.acknowledged = self.cut_off = self.unavailable = self.refused = self.calls = 0
        self.uncertain = 0
        self.trouble = None
        self.session = self.client.call("create_session")["session_id"]
        self.client.call("create_scene", session_id=self.session, scene="double_pendulum")

    def run(self):
        while not self.done.is_set() and self.trouble is None:
            try:
                step = {"session_id": self.session, "steps": self.STEPS}
                self.acknowledged += self.client.call("step_simulation", **step)["steps_done"]
                self.calls += 1
            except Unavailable:
                self.unavailable += 1
                time.sleep(0.05)
            except ConnectionRefusedError:
                self.refused += 1
                time.sleep(0.05)
            except (OSError, http.client.HTTPException):
                # Whether it was done nobody knows: between none and all of its steps.
                self.cut_off += 1
                self.uncertain += self.STEPS
            except Refused as refused:
                self.trouble = str(refused)

    def report(self):
        """What was counted here, and what there."""
        told = self.client.call("get_loaded_models", session_id=self.session)
        counted = told["models"][0]["steps_total"]
        return {
            "session": self.session,
            "calls": self.calls,
            "acknowledged": self.acknowledged,
            "counted": counted,
            "lost": max(0, self.acknowledged - counted),
            "invented": max(0, counted - self.acknowledged - self.uncertain),
            "cut_off": self.cut_off,
            "unavailable": self.unavailable,
            "refused": self.refused,
            "trouble": self.trouble,
        }


def load(url, token, sessions):
    """Steps several sessions at once; tells what came of it."""
    done = threading.Event()
    loads = [Load(url, token, done) for _ in range(sessions)]
    print("loaded", flush=True)
    for each in loads:
        each.start()
    sys.stdin.read()
    done.set()
    for each in loads:
        each.join()
    reports, sessions_lost = [], 0
    for each in loads:
        try:
            reports.append(each.report())
        except Refused as refused:
            sessions_lost += 1
            print(f"lost: {refused}", flush=True)
    keys = ("calls", "acknowledged", "lost", "invented", "cut_off", "unavailable", "refused")
    total = {key: sum(report[key] for report in reports) for key in keys}
    trouble = [report["trouble"] for report in reports if report["trouble"]]
    total.update(sessions=len(loads), sessions_lost=sessions_lost, trouble=trouble)
    print(json.dumps(total), flush=True)


def attempt(client):
    """One session from its beginning to its end."""
    session = client.call("create_session")["session_id"]
    client.call("create_scene", session_id=session, scene="double_pendulum")
    stepped = client.call("step_simulation", session_id=session, steps=100)
    client.call("close_session", session_id=session)
    print(json.dumps({"steps_done": stepped["steps_done"]}))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--token")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("try")
    loading = actions.add_parser("load")
    loading.add_argument("--sessions", type=int, default=4)
    calling = actions.add_parser("call")
    calling.add_argument("tool")
    calling.add_argument("arguments", type=json.loads, default={}, nargs="?")
    args = parser.parse_args()
    if args.action == "load":
        load(args.url, args.token, args.sessions)
        return
    client = Client(args.url, args.token)
    if args.action == "try":
        attempt(client)
    else:
        print(json.dumps(client.call(args.tool, **args.arguments)))


if __name__ == "__main__":
    main()
