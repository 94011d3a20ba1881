"""What a user does first, with the official Python client (`mcp`), in one era over one transport.

    python3 first_session.py (modern|legacy) http URL
    python3 first_session.py (modern|legacy) stdio SUPERVISOR WORKER STATE_DIR MENAGERIE_DIR

`modern` is protocol 2026-07-28 by the SDK's `Client`, `legacy` is 2025-11-25 by its
`ClientSession`. Every tool is called at least once, and every answer passes the SDK's own check
against the tool's output schema. Prints one line of JSON that sums up; anything that is not as it
should be ends in a traceback and exit status 1.
"""

import argparse
import base64
import contextlib
import json
import logging
import math
import pathlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
from mcp import Client, ClientSession, MCPError, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

# All of it, on a busy machine.
LIMIT_SECS = 150
CALL_LIMIT_SECS = 60

VERSIONS = {"modern": "2026-07-28", "legacy": "2025-11-25"}

HUMANOID = (
    pathlib.Path(__file__).resolve().parents[3] / "third_party/models/humanoid/humanoid.xml"
)
CALLS = pathlib.Path(__file__).parents[1] / "calls.json"

HUMANOID_TIMESTEP = 0.005

# So many that they take long enough to be told of several times.
LONG_STEPS = 100_000
# The most that one call may take, so that there is time to withdraw it.
ENDLESS_STEPS = 1_000_000

# A cart of 2 kg on a rail, and nothing that slows it.
CART = """
<mujoco model="cart">
  <option gravity="0 0 0" timestep="0.002"/>
  <worldbody>
    <body name="cart">
      <joint name="rail" type="slide" axis="1 0 0"/>
      <geom type="box" size=".1 .1 .1" mass="2"/>
    </body>
  </worldbody>
  <actuator><motor name="push" joint="rail"/></actuator>
  <sensor><jointpos name="where" joint="rail"/></sensor>
  <keyframe><key name="away" qpos="3"/></keyframe>
</mujoco>
"""


def check(holds: bool, what: str, *seen: Any) -> None:
    if not holds:
        raise AssertionError(f"{what}: {seen}" if seen else what)


def close_to(got: float, wanted: float) -> bool:
    return math.isclose(got, wanted, rel_tol=1e-9, abs_tol=1e-9)


class Talk:
    """A connected client, and what was seen through it."""

    def __init__(self, client: Client | ClientSession, session: ClientSession) -> None:
        self.client = client
        self.session = session
        self.validated: set[str] = set()
        self.schemas: dict[str, Any] = {}

    async def ok(self, tool: str, progress: Any = None, **arguments: Any) -> dict[str, Any]:
        """Calls a tool that must do it. The SDK raises if the answer does not fit the schema."""
        result = await self.client.call_tool(tool, arguments, progress_callback=progress)
        check(not result.is_error, f"{tool} was refused", result.structured_content)
        await self.check_that_the_sdk_validates(tool)
        return self.structured(result)

    async def refused(self, tool: str, code: str, **arguments: Any) -> dict[str, Any]:
        """Calls a tool that must refuse, with that code and a message for people."""
        result = await self.client.call_tool(tool, arguments)
        check(result.is_error, f"{tool} was not refused", result.structured_content)
        refusal = self.structured(result)
        check(refusal["code"] == code, f"{tool}'s refusal is not `{code}`", refusal)
        check(len(refusal["message"]) > 10, f"{tool}'s refusal has no message", refusal)
        return refusal

    @staticmethod
    def structured(result: CallToolResult) -> dict[str, Any]:
        said = json.loads(result.content[0].text)
        check(said == result.structured_content, "the text is not the structured content", result)
        return said

    async def check_that_the_sdk_validates(self, tool: str) -> None:
        """An answer whose fields are of the wrong kind must not get through."""
        if tool in self.validated:
            return
        if not self.schemas:
            listed = (await self.client.list_tools()).tools
            self.schemas = {one.name: one.output_schema for one in listed}
        wrong = CallToolResult(content=[], structured_content=wrong_answer(self.schemas[tool]))
        try:
            await self.session.validate_tool_result(tool, wrong)
        except RuntimeError as error:
            check("Invalid structured content" in str(error), "another error", error)
            self.validated.add(tool)
        else:
            raise AssertionError(f"the output schema of {tool} lets anything through")


def wrong_answer(schema: dict[str, Any]) -> dict[str, Any]:
    """What fits the schema in nothing but the names of its fields."""
    parts = [schema, *schema.get("anyOf", []), *schema.get("oneOf", [])]
    names = [name for part in parts for name in part.get("properties", {})]
    return {name: {"wrong": ["wrong"]} for name in names}


class Server:
    """The daemon under test, and how to reach it."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.era = args.era
        self.transport = args.transport
        if self.transport == "http":
            self.target = args.url
        else:
            command = ["stdio", "--state-dir", args.state_dir, "--worker", args.worker]
            command += ["--menagerie-dir", args.menagerie_dir]
            self.target = StdioServerParameters(command=args.supervisor, args=command)

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[Talk]:
        if self.era == "modern":
            async with Client(self.target, read_timeout_seconds=CALL_LIMIT_SECS) as client:
                yield self.connected(Talk(client, client.session))
            return
        http = self.transport == "http"
        transport = (streamable_http_client if http else stdio_client)(self.target)
        async with (
            transport as (read, write),
            ClientSession(read, write, read_timeout_seconds=CALL_LIMIT_SECS) as session,
        ):
            await session.initialize()
            yield self.connected(Talk(session, session))

    def connected(self, talk: Talk) -> Talk:
        version, server = talk.session.protocol_version, talk.session.server_info
        check(version == VERSIONS[self.era], "another version was negotiated", version)
        check(server.name == "simward", "another server", server)
        check("create_session" in talk.session.instructions, "no instructions")
        return talk


async def two_sessions(talk: Talk) -> dict[str, int]:
    """Two sessions, a scene in one and a model in the other; each steps for itself."""
    scene = await talk.ok("create_session", name="scene")
    model = await talk.ok("create_session", name="model")
    a, b = scene["session_id"], model["session_id"]
    check(a != b and scene["pid"] != model["pid"], "the sessions share something", scene, model)

    pendulum = await talk.ok("create_scene", session_id=a, scene="pendulum")
    cart = await talk.ok("load_model", session_id=b, model_xml=CART, model_id="cart")
    check(cart["session_id"] == b and cart["model_id"] == "cart", "loaded elsewhere", cart)
    check((cart["nq"], cart["nv"], cart["nu"]) == (1, 1, 1), "another size", cart)

    stepped = await talk.ok("step_simulation", session_id=a, steps=50)
    check(stepped["steps_done"] == 50 and stepped["stopped_by"] == "steps", "no 50 steps", stepped)
    after = 50 * pendulum["timestep_secs"]
    check(close_to(stepped["time_secs"], after), "another time", stepped)

    include = ["qpos", "sensordata"]
    push = {"session_id": b, "control": {"push": 1.0}, "include": include}
    stepped = await talk.ok("step_simulation", steps=500, **push)
    check(len(stepped["state"]["sensordata"]) == 1, "no sensor", stepped)
    state = await talk.ok("get_state", session_id=b)
    check(state["qpos"] == stepped["state"]["qpos"], "the state moved by itself", state, stepped)
    # 1 N on 2 kg for 1 s.
    check(close_to(state["qvel"][0], 0.5), "another velocity", state)
    check(state["ctrl"] == [1.0], "another control", state)

    state = await talk.ok("get_state", session_id=a)
    check(close_to(state["time_secs"], after), "the other session was stepped too", state)
    return {a: scene["pid"], b: model["pid"]}


async def refusals(talk: Talk, session_id: str) -> None:
    """A refusal says why, and changes nothing."""
    before = await talk.ok("get_state", session_id=session_id)
    step = {"session_id": session_id, "steps": 1}
    refusal = await talk.refused("step_simulation", "session_unknown", session_id="sim_none")
    check("create_session" in refusal["hint"], "the hint does not help", refusal)
    await talk.refused("step_simulation", "wrong_length", **step, control=[1, 2, 3])
    refusal = await talk.refused("step_simulation", "name_unknown", **step, control={"pusch": 1})
    check("`push`" in refusal["message"], "no suggestion", refusal)
    await talk.refused("step_simulation", "out_of_range", **step | {"steps": 0})
    await talk.refused("step_simulation", "invalid_argument", **step, stepps=1)
    broken = "<mujoco><nonsense/></mujoco>"
    refusal = await talk.refused("load_model", "model_invalid", session_id=session_id,
                                 model_xml=broken)
    check("nonsense" in refusal["message"], "the compiler's error is missing", refusal)
    after = await talk.ok("get_state", session_id=session_id)
    check(after == before, "a refused call changed something", before, after)
    try:
        await talk.client.call_tool("no_such_tool", {})
    except MCPError as error:
        check(error.code == -32602, "another error", error)
    else:
        raise AssertionError("a tool that is not there was called")


async def progress(talk: Talk, session_id: str) -> int:
    """A long call tells how far it is."""
    model_xml = HUMANOID.read_text()
    humanoid = {"session_id": session_id, "model_id": "humanoid"}
    await talk.ok("load_model", model_xml=model_xml, **humanoid)
    told: list[tuple[float, float | None]] = []

    async def tell(done: float, total: float | None, _message: str | None) -> None:
        told.append((done, total))

    stepped = await talk.ok("step_simulation", tell, steps=LONG_STEPS, **humanoid)
    check(stepped["steps_done"] == LONG_STEPS, "not all steps were taken", stepped)
    check(len(told) >= 2, "a long call told too little", told)
    rising = all(one < next_ for (one, _), (next_, _) in zip(told, told[1:]))
    check(rising, "progress does not rise", told)
    check(all(total == LONG_STEPS for _, total in told), "another total", told)
    check(0 < told[0][0] and told[-1][0] <= LONG_STEPS, "progress is out of range", told)
    await withdrawal(talk, humanoid)
    await talk.ok("unload_model", **humanoid)
    return len(told)


async def withdrawal(talk: Talk, humanoid: dict[str, str]) -> None:
    """A call that the client withdraws ends early, and the session serves the next one."""
    before = await talk.ok("get_state", **humanoid)
    with anyio.CancelScope() as scope:

        async def had_enough(*_news: Any) -> None:
            scope.cancel()

        await talk.ok("step_simulation", had_enough, steps=ENDLESS_STEPS, **humanoid)
    check(scope.cancelled_caught, "the call was too short to be withdrawn")
    after = await talk.ok("get_state", **humanoid)
    steps = (after["time_secs"] - before["time_secs"]) / HUMANOID_TIMESTEP
    check(1 <= steps < ENDLESS_STEPS / 2, "the call went on", steps)


async def pictures(talk: Talk, session_id: str) -> None:
    """Pictures come beside the words, and nothing moves for them."""
    here = {"session_id": session_id, "width": 64, "height": 48}
    before = await talk.ok("get_state", session_id=session_id)
    kinds = {"render_frame": "image/png", "render_depth": "image/png",
             "render_strip": "image/png", "record_video": "video/mp4"}
    for tool, kind in kinds.items():
        told = await talk.ok(tool, **here)
        result = await talk.client.call_tool(tool, here)
        check(len(result.content) == 2, "a picture, and nothing else", result)
        block = result.content[1]
        data, mime = (block.data, block.mime_type) if kind == "image/png" else (
            block.resource.blob, block.resource.mime_type)
        file = base64.b64decode(data)
        check(mime == told["mime_type"] == kind, "another kind", mime, told)
        check(len(file) == result.structured_content["bytes"], "another length", told)
        check(file.startswith(b"\x89PNG") or file[4:8] == b"ftyp", "no such file", file[:8])
    after = await talk.ok("get_state", session_id=session_id)
    check(after == before, "a picture changed something", before, after)


async def calls_of_the_list(talk: Talk) -> None:
    """One call of each tool that needs a robot, as `calls.json` lists them."""
    known = {"$session": (await talk.ok("create_session"))["session_id"]}
    fill = lambda value: (
        known.get(value, value) if isinstance(value, str)
        else [fill(one) for one in value] if isinstance(value, list)
        else {name: fill(one) for name, one in value.items()} if isinstance(value, dict)
        else value
    )
    for call in json.loads(CALLS.read_text()):
        here = {} if call.get("alone") else {"session_id": known["$session"]}
        answer = await talk.ok(call["tool"], **fill(call["arguments"]), **here)
        known |= {name: answer[field] for field, name in call.get("keep", {}).items()}
    await talk.ok("close_session", session_id=known["$session"])


async def every_other_tool(talk: Talk, session_id: str) -> None:
    """What the rest of this script has no use for."""
    here = {"session_id": session_id}
    await talk.ok("get_server_info")
    await talk.ok("get_process_pool_stats")
    await talk.ok("list_active_processes")
    info = await talk.ok("get_session_info", open_port=True, **here)
    check(info["state"] == "ready" and info["port"] is not None, "not ready", info)
    listed = (await talk.ok("list_sessions"))["sessions"]
    check(session_id in [session["session_id"] for session in listed], "not listed", listed)
    models = (await talk.ok("get_loaded_models", **here))["models"]
    check([model["model_id"] for model in models] == ["cart"], "other models", models)
    described = await talk.ok("get_model_info", **here)
    check(described["actuators"][0]["name"] == "push", "another actuator", described)
    check((await talk.ok("validate_model_xml", model_xml=CART))["valid"], "not valid")
    validation = await talk.ok("validate_model_xml", model_xml="<mujoco><nonsense/></mujoco>")
    check(not validation["valid"] and "nonsense" in validation["error"], "valid", validation)

    parts = ["qpos", "qvel", "ctrl", "act", "qacc", "actuator_force", "sensordata", "xpos",
             "xquat", "mocap_pos", "mocap_quat"]
    state = await talk.ok("get_state", include=parts, **here)
    check(all(state[part] is not None for part in parts), "a part is missing", state)
    await talk.ok("apply_control", control=[0], **here)
    await talk.ok("set_joint_positions", positions={"rail": 0.25}, **here)
    await talk.ok("set_joint_velocities", velocities=[-0.125], **here)
    state = await talk.ok("get_state", **here)
    check((state["qpos"], state["qvel"], state["ctrl"]) == ([0.25], [-0.125], [0]), "?", state)
    await talk.ok("set_state", time_secs=7, qpos=[0.1], **here)
    state = await talk.ok("get_state", **here)
    check((state["time_secs"], state["qpos"]) == (7, [0.1]), "not set to the bit", state)
    await talk.ok("reset_simulation", keyframe="away", **here)
    state = await talk.ok("get_state", **here)
    check((state["time_secs"], state["qpos"]) == (0, [3]), "not at the keyframe", state)

    running = await talk.ok("run_simulation", duration_secs=3600, real_time_factor=1, **here)
    check(running["running"], "it does not run", running)
    await talk.refused("step_simulation", "simulation_running", steps=1, **here)
    paused = await talk.ok("pause_simulation", **here)
    check(not paused["running"] and paused["time_secs"] < 3600, "it still runs", paused)

    before = await talk.ok("get_state", **here)
    copy = (await talk.ok("fork_session", count=1, name="copy", **here))["sessions"][0]
    await talk.ok("step_simulation", steps=3, **here)
    copied = await talk.ok("get_state", session_id=copy["session_id"])
    check(copied == before, "another state", copied, before)
    slept = await talk.ok("hibernate_session", session_id=copy["session_id"])
    check(slept["state"] == "hibernated" and slept["pid"] is None, "awake", slept)
    woken = await talk.ok("get_state", session_id=copy["session_id"])
    check(woken == before, "another state after sleep", woken, before)
    restarted = await talk.ok("restart_process", session_id=copy["session_id"])
    check(restarted["pid"] != copy["pid"], "the same process", restarted, copy)
    revived = await talk.ok("revive_session", session_id=copy["session_id"])
    check(revived["state"] == "ready", "not ready", revived)
    await talk.ok("close_session", session_id=copy["session_id"])

    doomed = (await talk.ok("create_session"))["session_id"]
    await talk.ok("terminate_process", session_id=doomed)
    await talk.refused("get_state", "session_unknown", session_id=doomed)


async def default_session(talk: Talk) -> str:
    """Who names no session has one all the same."""
    scene = await talk.ok("create_scene", scene="cart_pole")
    stepped = await talk.ok("step_simulation", steps=5)
    check(stepped["steps_done"] == 5, "not all steps were taken", stepped)
    info = await talk.ok("get_session_info")
    check(info["session_id"] == scene["session_id"], "two default sessions", info, scene)
    return scene["session_id"]


async def modern_requests_share_a_default_session(server: Server) -> None:
    async with server.connect() as one:
        default = await default_session(one)
    async with server.connect() as other:
        info = await other.ok("get_session_info")
        check(info["session_id"] == default, "another default session", info)
        await other.ok("close_session", session_id=default)


async def legacy_conversations_have_a_default_session_each(server: Server) -> None:
    """It goes with its conversation, unless somebody has named it by its handle."""
    async with server.connect() as watcher:
        async with server.connect() as one:
            default = await default_session(one)
            named = (await one.ok("create_session"))["session_id"]
            check(await default_session(watcher) != default, "conversations share a default")
            listed = (await watcher.ok("list_sessions"))["sessions"]
            ids = [session["session_id"] for session in listed]
            check(default in ids and named in ids, "not listed", ids)
        # Leaving has sent a DELETE, and waited for its answer.
        await watcher.refused("get_state", "session_unknown", session_id=default)
        info = await watcher.ok("get_session_info", session_id=named)
        check(info["state"] == "ready", "it did not survive", info)
        await watcher.ok("close_session", session_id=named)

        async with server.connect() as two:
            named = await default_session(two)
            await two.ok("step_simulation", session_id=named)
        stepped = await watcher.ok("step_simulation", session_id=named)
        check(stepped["steps_done"] == 1, "it did not survive", stepped)
        await watcher.ok("close_session", session_id=named)


async def closing(talk: Talk, sessions: dict[str, int]) -> None:
    for session_id in sessions:
        closed = await talk.ok("close_session", session_id=session_id)
        check(closed["state"] == "closed", "not closed", closed)
        await talk.refused("step_simulation", "session_unknown", session_id=session_id)


async def first_session(server: Server) -> dict[str, Any]:
    async with server.connect() as talk:
        tools = {tool.name: tool for tool in (await talk.client.list_tools()).tools}
        check(all(tool.output_schema for tool in tools.values()), "a tool has no output schema")
        sessions = await two_sessions(talk)
        model = list(sessions)[1]
        await refusals(talk, model)
        told = await progress(talk, model)
        await pictures(talk, model)
        await every_other_tool(talk, model)
        await calls_of_the_list(talk)
        if server.transport == "stdio":
            await default_session(talk)
        left = (await talk.ok("list_sessions"))["sessions"]
        await closing(talk, sessions)
        unseen = set(tools) - talk.validated
        check(not unseen, "tools whose answers nothing has checked", unseen)
    if server.transport == "http" and server.era == "modern":
        await modern_requests_share_a_default_session(server)
    if server.transport == "http" and server.era == "legacy":
        await legacy_conversations_have_a_default_session_each(server)
    return {
        "client": "python",
        "protocol": VERSIONS[server.era],
        "transport": server.transport,
        "tools_validated": len(talk.validated),
        "progress_told": told,
        "workers": [session["pid"] for session in left],
    }


class Complaints(logging.Handler):
    """What the SDK warns of: nothing, if the daemon does as the SDK expects."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(f"{record.name}: {record.getMessage()}")


async def main(args: argparse.Namespace) -> None:
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    with anyio.fail_after(LIMIT_SECS):
        summary = await first_session(Server(args))
    check(not complaints.heard, "the SDK complains", complaints.heard)
    print(json.dumps(summary))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A first session, with the official client.")
    parser.add_argument("era", choices=list(VERSIONS))
    transports = parser.add_subparsers(dest="transport", required=True)
    transports.add_parser("http").add_argument("url")
    stdio = transports.add_parser("stdio")
    for name in ("supervisor", "worker", "state_dir", "menagerie_dir"):
        stdio.add_argument(name)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(anyio.run(main, arguments()))
