// What a user does first, with the official TypeScript client, in one era over one transport.
//
//     node first_session.mjs (modern|legacy) http URL
//     node first_session.mjs (modern|legacy) stdio SUPERVISOR WORKER STATE_DIR MENAGERIE_DIR
//
// `modern` is protocol 2026-07-28, found by `versionNegotiation.mode: 'auto'`; `legacy` is
// 2025-11-25, the client's default. Every tool is called at least once, and every answer passes
// the client's own check against the tool's output schema. Prints one line of JSON that sums up;
// anything that is not as it should be ends in an error and exit status 1.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { AjvJsonSchemaValidator } from "@modelcontextprotocol/client/validators/ajv";

// All of it, on a busy machine.
const LIMIT_MS = 150_000;
const CALL_LIMIT_MS = 60_000;

const VERSIONS = { modern: "2026-07-28", legacy: "2025-11-25" };

const HUMANOID = new URL("../../../third_party/models/humanoid/humanoid.xml", import.meta.url);
const CALLS = new URL("../calls.json", import.meta.url);

const HUMANOID_TIMESTEP = 0.005;

// So many that they take long enough to be told of several times.
const LONG_STEPS = 100_000;
// The most that one call may take, so that there is time to withdraw it.
const ENDLESS_STEPS = 1_000_000;

// A cart of 2 kg on a rail, and nothing that slows it.
const CART = `
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
`;

// What the client complains of: nothing, if the daemon does as the client expects.
const complaints = [];
console.warn = (...words) => complaints.push(words.join(" "));

const near = (got, wanted) =>
  assert.ok(Math.abs(got - wanted) < 1e-9, `${got} is not ${wanted}`);

// What fits a schema in nothing but the names of its fields.
const wrongAnswer = (schema) => {
  const parts = [schema, ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])];
  const names = parts.flatMap((part) => Object.keys(part.properties ?? {}));
  return Object.fromEntries(names.map((name) => [name, { wrong: ["wrong"] }]));
};

// The client's own validator, and how often it was asked. An output schema that would accept fields
// of the wrong kind checks nothing.
class Counting {
  validated = 0;
  #validator = new AjvJsonSchemaValidator();

  getValidator(schema) {
    const validate = this.#validator.getValidator(schema);
    assert.ok(!validate(wrongAnswer(schema)).valid, `this lets anything through: ${JSON.stringify(schema)}`);
    return (value) => {
      this.validated += 1;
      return validate(value);
    };
  }
}

// A connected client, and what was seen through it.
class Talk {
  validator = new Counting();
  called = new Set();

  static async connect(server) {
    const talk = new Talk();
    const options = { jsonSchemaValidator: talk.validator };
    if (server.era === "modern") options.versionNegotiation = { mode: "auto" };
    talk.client = new Client({ name: "tests", version: "0" }, options);
    talk.client.onerror = (error) => complaints.push(String(error));
    talk.transport = server.transport();
    await talk.client.connect(talk.transport, { timeout: CALL_LIMIT_MS });
    assert.equal(talk.client.getNegotiatedProtocolVersion(), VERSIONS[server.era]);
    assert.equal(talk.client.getServerVersion().name, "simward");
    assert.match(talk.client.getInstructions(), /create_session/);
    // The client checks answers only against tools that it has listed.
    talk.tools = (await talk.client.listTools()).tools;
    return talk;
  }

  // Calls a tool that must do it. The client throws if the answer does not fit the schema.
  async ok(name, args = {}, options = {}) {
    const before = this.validator.validated;
    const result = await this.#call(name, args, options);
    assert.ok(!result.isError, `${name} was refused: ${JSON.stringify(result)}`);
    assert.equal(this.validator.validated, before + 1, `${name}'s answer was not validated`);
    this.called.add(name);
    return result.structuredContent;
  }

  // Calls a tool that must refuse, with that code and a message for people.
  async refused(name, code, args) {
    const result = await this.#call(name, args);
    assert.ok(result.isError, `${name} was not refused: ${JSON.stringify(result)}`);
    const refusal = result.structuredContent;
    assert.equal(refusal.code, code, refusal.message);
    assert.ok(refusal.message.length > 10, refusal.message);
    return refusal;
  }

  async #call(name, args, options = {}) {
    const request = { name, arguments: args };
    const result = await this.client.callTool(request, { timeout: CALL_LIMIT_MS, ...options });
    assert.deepEqual(JSON.parse(result.content[0].text), result.structuredContent);
    return result;
  }

  async hangUp() {
    await this.client.close();
  }
}

// The daemon under test, and how to reach it.
class Server {
  constructor(era, kind, rest) {
    assert.ok(era in VERSIONS && ["http", "stdio"].includes(kind), "wrong arguments");
    this.era = era;
    this.kind = kind;
    this.rest = rest;
  }

  transport() {
    if (this.kind === "http") return new StreamableHTTPClientTransport(new URL(this.rest[0]));
    const [command, worker, stateDir, menagerie] = this.rest;
    const folders = ["--state-dir", stateDir, "--menagerie-dir", menagerie];
    const args = ["stdio", ...folders, "--worker", worker];
    return new StdioClientTransport({ command, args });
  }

  async during(what) {
    const talk = await Talk.connect(this);
    try {
      return await what(talk);
    } finally {
      await talk.hangUp();
    }
  }
}

// Two sessions, a scene in one and a model in the other; each steps for itself.
async function twoSessions(talk) {
  const scene = await talk.ok("create_session", { name: "scene" });
  const model = await talk.ok("create_session", { name: "model" });
  const [a, b] = [scene.session_id, model.session_id];
  assert.notEqual(a, b);
  assert.notEqual(scene.pid, model.pid);

  const pendulum = await talk.ok("create_scene", { session_id: a, scene: "pendulum" });
  const load = { session_id: b, model_xml: CART, model_id: "cart" };
  const cart = await talk.ok("load_model", load);
  assert.deepEqual([cart.session_id, cart.model_id], [b, "cart"]);
  assert.deepEqual([cart.nq, cart.nv, cart.nu], [1, 1, 1]);

  let stepped = await talk.ok("step_simulation", { session_id: a, steps: 50 });
  assert.deepEqual([stepped.steps_done, stepped.stopped_by], [50, "steps"]);
  const after = stepped.time_secs;
  near(after, 50 * pendulum.timestep_secs);

  const push = { control: { push: 1 }, include: ["qpos", "sensordata"] };
  stepped = await talk.ok("step_simulation", { session_id: b, steps: 500, ...push });
  assert.equal(stepped.state.sensordata.length, 1);
  const state = await talk.ok("get_state", { session_id: b });
  assert.deepEqual(state.qpos, stepped.state.qpos);
  // 1 N on 2 kg for 1 s.
  near(state.qvel[0], 0.5);
  assert.deepEqual(state.ctrl, [1]);

  assert.equal((await talk.ok("get_state", { session_id: a })).time_secs, after);
  return [a, b];
}

// A refusal says why, and changes nothing.
async function refusals(talk, session_id) {
  const before = await talk.ok("get_state", { session_id });
  const step = { session_id, steps: 1 };
  let refusal = await talk.refused("step_simulation", "session_unknown", { session_id: "sim_no" });
  assert.match(refusal.hint, /create_session/);
  await talk.refused("step_simulation", "wrong_length", { ...step, control: [1, 2, 3] });
  const wrong = { ...step, control: { pusch: 1 } };
  refusal = await talk.refused("step_simulation", "name_unknown", wrong);
  assert.match(refusal.message, /`push`/);
  await talk.refused("step_simulation", "out_of_range", { ...step, steps: 0 });
  await talk.refused("step_simulation", "invalid_argument", { ...step, stepps: 1 });
  const broken = { session_id, model_xml: "<mujoco><nonsense/></mujoco>" };
  refusal = await talk.refused("load_model", "model_invalid", broken);
  assert.match(refusal.message, /nonsense/);
  assert.deepEqual(await talk.ok("get_state", { session_id }), before);
  const nothing = talk.client.callTool({ name: "no_such_tool", arguments: {} });
  await assert.rejects(nothing, { code: -32602 });
}

// A long call tells how far it is.
async function progress(talk, session_id) {
  const humanoid = { session_id, model_id: "humanoid" };
  await talk.ok("load_model", { ...humanoid, model_xml: readFileSync(HUMANOID, "utf8") });
  const told = [];
  const options = { onprogress: (news) => told.push(news) };
  const long = { ...humanoid, steps: LONG_STEPS };
  const stepped = await talk.ok("step_simulation", long, options);
  assert.equal(stepped.steps_done, LONG_STEPS);
  assert.ok(told.length >= 2, `a long call told too little: ${JSON.stringify(told)}`);
  let last = 0;
  for (const { progress, total } of told) {
    assert.ok(last < progress, `progress does not rise: ${JSON.stringify(told)}`);
    assert.equal(total, LONG_STEPS);
    last = progress;
  }
  assert.ok(last <= LONG_STEPS);
  await withdrawal(talk, humanoid);
  await talk.ok("unload_model", humanoid);
  return told.length;
}

// A call that the client withdraws ends early, and the session serves the next one.
async function withdrawal(talk, humanoid) {
  const before = await talk.ok("get_state", humanoid);
  const enough = new AbortController();
  const options = { signal: enough.signal, onprogress: () => enough.abort("enough") };
  const endless = talk.ok("step_simulation", { ...humanoid, steps: ENDLESS_STEPS }, options);
  await assert.rejects(endless, /enough/);
  const after = await talk.ok("get_state", humanoid);
  const steps = (after.time_secs - before.time_secs) / HUMANOID_TIMESTEP;
  assert.ok(1 <= steps && steps < ENDLESS_STEPS / 2, `the call went on for ${steps} steps`);
}

// Pictures come beside the words, and nothing moves for them.
async function pictures(talk, session_id) {
  const here = { session_id, width: 64, height: 48 };
  const before = await talk.ok("get_state", { session_id });
  const png = "image/png";
  const kinds = { render_frame: png, render_depth: png, render_strip: png, record_video: "video/mp4" };
  for (const [name, kind] of Object.entries(kinds)) {
    const told = await talk.ok(name, here);
    const { content } = await talk.client.callTool({ name, arguments: here });
    assert.equal(content.length, 2);
    const [data, mime] = kind === png
      ? [content[1].data, content[1].mimeType]
      : [content[1].resource.blob, content[1].resource.mimeType];
    assert.deepEqual([mime, told.mime_type], [kind, kind]);
    const file = Buffer.from(data, "base64");
    assert.equal(file.length, told.bytes);
    assert.equal(file.toString("latin1", ...(kind === png ? [1, 4] : [4, 8])), kind === png ? "PNG" : "ftyp");
  }
  assert.deepEqual(await talk.ok("get_state", { session_id }), before);
}

// One call of each tool that needs a robot, as `calls.json` lists them.
async function callsOfTheList(talk) {
  const known = { $session: (await talk.ok("create_session")).session_id };
  const fill = (value) => {
    if (typeof value === "string") return known[value] ?? value;
    if (Array.isArray(value)) return value.map(fill);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, fill(one)]));
  };
  for (const call of JSON.parse(readFileSync(CALLS))) {
    const here = call.alone ? {} : { session_id: known.$session };
    const answer = await talk.ok(call.tool, { ...fill(call.arguments), ...here });
    for (const [field, name] of Object.entries(call.keep ?? {})) known[name] = answer[field];
  }
  await talk.ok("close_session", { session_id: known.$session });
}

// What the rest of this script has no use for.
async function everyOtherTool(talk, session_id) {
  const here = { session_id };
  const state = (include) => talk.ok("get_state", include ? { ...here, include } : here);
  await talk.ok("get_server_info");
  await talk.ok("get_process_pool_stats");
  await talk.ok("list_active_processes");
  const info = await talk.ok("get_session_info", { ...here, open_port: true });
  assert.equal(info.state, "ready");
  assert.equal(typeof info.port, "number");
  const { sessions } = await talk.ok("list_sessions");
  assert.ok(sessions.some((session) => session.session_id === session_id));
  const { models } = await talk.ok("get_loaded_models", here);
  assert.deepEqual(models.map((model) => model.model_id), ["cart"]);
  assert.equal((await talk.ok("get_model_info", here)).actuators[0].name, "push");
  assert.ok((await talk.ok("validate_model_xml", { model_xml: CART })).valid);
  const nonsense = { model_xml: "<mujoco><nonsense/></mujoco>" };
  assert.ok(!(await talk.ok("validate_model_xml", nonsense)).valid);

  const parts = ["qpos", "qvel", "ctrl", "act", "qacc", "actuator_force", "sensordata", "xpos",
    "xquat", "mocap_pos", "mocap_quat"];
  const whole = await state(parts);
  for (const part of parts) assert.ok(Array.isArray(whole[part]), `${part} is missing`);
  await talk.ok("apply_control", { ...here, control: [0] });
  await talk.ok("set_joint_positions", { ...here, positions: { rail: 0.25 } });
  await talk.ok("set_joint_velocities", { ...here, velocities: [-0.125] });
  let now = await state();
  assert.deepEqual([now.qpos, now.qvel, now.ctrl], [[0.25], [-0.125], [0]]);
  await talk.ok("set_state", { ...here, time_secs: 7, qpos: [0.1] });
  now = await state();
  assert.deepEqual([now.time_secs, now.qpos], [7, [0.1]]);
  await talk.ok("reset_simulation", { ...here, keyframe: "away" });
  now = await state();
  assert.deepEqual([now.time_secs, now.qpos], [0, [3]]);

  const run = { ...here, duration_secs: 3600, real_time_factor: 1 };
  assert.ok((await talk.ok("run_simulation", run)).running);
  await talk.refused("step_simulation", "simulation_running", { ...here, steps: 1 });
  const paused = await talk.ok("pause_simulation", here);
  assert.ok(!paused.running && paused.time_secs < 3600);

  const before = await state();
  const fork = await talk.ok("fork_session", { ...here, count: 1, name: "copy" });
  const copy = { session_id: fork.sessions[0].session_id };
  await talk.ok("step_simulation", { ...here, steps: 3 });
  assert.deepEqual(await talk.ok("get_state", copy), before);
  const slept = await talk.ok("hibernate_session", copy);
  assert.deepEqual([slept.state, slept.pid], ["hibernated", null]);
  assert.deepEqual(await talk.ok("get_state", copy), before);
  assert.notEqual((await talk.ok("restart_process", copy)).pid, fork.sessions[0].pid);
  assert.equal((await talk.ok("revive_session", copy)).state, "ready");
  await talk.ok("close_session", copy);

  const doomed = { session_id: (await talk.ok("create_session")).session_id };
  await talk.ok("terminate_process", doomed);
  await talk.refused("get_state", "session_unknown", doomed);
}

// Who names no session has one all the same.
async function defaultSession(talk) {
  const scene = await talk.ok("create_scene", { scene: "cart_pole" });
  assert.equal((await talk.ok("step_simulation", { steps: 5 })).steps_done, 5);
  const info = await talk.ok("get_session_info");
  assert.equal(info.session_id, scene.session_id);
  return scene.session_id;
}

async function modernRequestsShareADefaultSession(server) {
  const session_id = await server.during(defaultSession);
  await server.during(async (other) => {
    assert.equal((await other.ok("get_session_info")).session_id, session_id);
    await other.ok("close_session", { session_id });
  });
}

// It goes with its conversation, unless somebody has named it by its handle.
async function legacyConversationsHaveADefaultSessionEach(server) {
  await server.during(async (watcher) => {
    let ended, named;
    await server.during(async (one) => {
      ended = await defaultSession(one);
      named = (await one.ok("create_session")).session_id;
      assert.notEqual(await defaultSession(watcher), ended);
      const { sessions } = await watcher.ok("list_sessions");
      const ids = sessions.map((session) => session.session_id);
      assert.ok(ids.includes(ended) && ids.includes(named));
      await one.transport.terminateSession();
    });
    await watcher.refused("get_state", "session_unknown", { session_id: ended });
    const info = await watcher.ok("get_session_info", { session_id: named });
    assert.equal(info.state, "ready");
    await watcher.ok("close_session", { session_id: named });

    await server.during(async (two) => {
      named = await defaultSession(two);
      await two.ok("step_simulation", { session_id: named });
      await two.transport.terminateSession();
    });
    const stepped = await watcher.ok("step_simulation", { session_id: named });
    assert.equal(stepped.steps_done, 1);
    await watcher.ok("close_session", { session_id: named });
    await watcher.transport.terminateSession();
  });
}

async function closing(talk, sessions) {
  for (const session_id of sessions) {
    assert.equal((await talk.ok("close_session", { session_id })).state, "closed");
    await talk.refused("step_simulation", "session_unknown", { session_id });
  }
}

async function firstSession(server) {
  const summary = await server.during(async (talk) => {
    for (const tool of talk.tools) assert.ok(tool.outputSchema, `${tool.name} has no schema`);
    const sessions = await twoSessions(talk);
    const model = sessions[1];
    await refusals(talk, model);
    const told = await progress(talk, model);
    await pictures(talk, model);
    await everyOtherTool(talk, model);
    await callsOfTheList(talk);
    if (server.kind === "stdio") await defaultSession(talk);
    const left = (await talk.ok("list_sessions")).sessions;
    await closing(talk, sessions);
    const unseen = talk.tools.map((tool) => tool.name).filter((name) => !talk.called.has(name));
    assert.deepEqual(unseen, [], "tools whose answers nothing has checked");
    if (server.kind === "http" && server.era === "legacy") await talk.transport.terminateSession();
    return {
      client: "node",
      protocol: VERSIONS[server.era],
      transport: server.kind,
      tools_validated: talk.called.size,
      progress_told: told,
      workers: left.map((session) => session.pid),
    };
  });
  if (server.kind === "http" && server.era === "modern") {
    await modernRequestsShareADefaultSession(server);
  }
  if (server.kind === "http" && server.era === "legacy") {
    await legacyConversationsHaveADefaultSessionEach(server);
  }
  return summary;
}

const late = setTimeout(() => {
  console.error(`not done after ${LIMIT_MS / 1000} s`);
  process.exit(1);
}, LIMIT_MS);
const [era, kind, ...rest] = process.argv.slice(2);
const summary = await firstSession(new Server(era, kind, rest));
// News of a call that was withdrawn may cross the withdrawal on its way.
const told = complaints.filter((words) => !words.includes("progress notification for an unknown token"));
const some = [...new Set(told)].slice(0, 5).join("\n");
assert.equal(told.length, 0, `the client complains ${told.length} times:\n${some}`);
console.log(JSON.stringify(summary));
clearTimeout(late);
