// The page: what the session tells goes into the picture, what the user does goes to the session.

import { Vector3 } from "three";
import { Connection } from "./connection";
import { Hand } from "./hand";
import { Model } from "./model";
import { Readout } from "./readout";
import { View } from "./view";
import type { Moment } from "./wire";

/** How often the values are written anew, in milliseconds. */
const READOUT_EVERY = 100;

function element<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found as T;
}

const query = new URLSearchParams(location.search);
const status = element("status");
const models = element<HTMLSelectElement>("models");
const run = element<HTMLButtonElement>("run");
const step = element<HTMLButtonElement>("step");
const view = new View(element<HTMLCanvasElement>("view"));
const readout = new Readout(element("readout"));

/** What the tests, and whoever is curious, look at. */
const simward = {
  view,
  moment: null as Moment | null,
  momentsDrawn: 0,
  maySteer: false,
  /** Where a geometry is drawn. */
  geomPosition(index: number): number[] | null {
    const mesh = view.model?.geoms[index];
    return mesh ? mesh.getWorldPosition(new Vector3()).toArray() : null;
  },
  /** Where a point of the world is on the page, in pixels. */
  onPage(point: [number, number, number]): [number, number] {
    const seen = new Vector3().fromArray(point).project(view.camera);
    const { left, top, width, height } = view.canvas.getBoundingClientRect();
    return [left + ((seen.x + 1) / 2) * width, top + ((1 - seen.y) / 2) * height];
  },
};
declare global {
  interface Window {
    simward: typeof simward;
  }
}
window.simward = simward;

let fresh: Moment | null = null;
let shown: string | null = null;
let current = "";

const connection = new Connection(query.get("token") ?? "", query.get("model"), {
  hello(hello) {
    current = hello.model_id;
    document.title = `${hello.model_id} – simward`;
    simward.maySteer = hello.may_steer;
    hand.allowed = hello.may_steer;
    element("buttons").hidden = !hello.may_steer;
    element("hint").textContent = hello.may_steer
      ? "Drag: turn. Right drag: move. Wheel: zoom. Ctrl and drag: pull at a body."
      : "Drag: turn. Right drag: move. Wheel: zoom.";
    models.hidden = hello.models.length < 2;
    models.replaceChildren(...hello.models.map((id) => new Option(id, id, false, id === current)));
  },
  shape(shape) {
    fresh = simward.moment = null;
    const { name } = shape.description;
    element("name").textContent = name && name !== current ? `${current} (${name})` : current;
    view.show(new Model(shape), shown !== current);
    shown = current;
    readout.show(shape);
    showGroups();
  },
  moment(moment) {
    // The newest counts; one that was not drawn is skipped.
    if (fresh) connection.send({ ask: "more" });
    fresh = moment;
  },
  refused(_ask, why) {
    status.textContent = why;
  },
  status(text) {
    status.textContent = text;
  },
});
const hand = new Hand(view, (ask) => connection.send(ask));

models.addEventListener("change", () => connection.show(models.value));
run.addEventListener("click", () => {
  status.textContent = "";
  connection.send({ ask: simward.moment?.runs ? "pause" : "run" });
});
step.addEventListener("click", () => {
  status.textContent = "";
  connection.send({ ask: "step", steps: 1 });
});
element("reset").addEventListener("click", () => {
  status.textContent = "";
  connection.send({ ask: "reset" });
});

function showGroups(): void {
  const { model } = view;
  if (!model) return;
  const boxes = model.groups.map((group) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = model.isGroupShown(group);
    box.addEventListener("change", () => {
      model.showGroup(group, box.checked);
      view.touch();
    });
    label.append(box, ` group ${group}`);
    return label;
  });
  element("groups").replaceChildren(...(boxes.length > 1 ? boxes : []));
}

/** Where time was a while ago: by the clock, and in the simulation. */
let before: [clock: number, simulated: number] | null = null;

function write(moment: Moment, now: number): void {
  element("time").textContent = `${moment.timeSecs.toFixed(3)} s`;
  element("steps").textContent = `step ${moment.steps}`;
  const rate = before && (1000 * (moment.timeSecs - before[1])) / (now - before[0]);
  element("rate").textContent = moment.runs && rate !== null ? `${rate.toFixed(2)} × real time` : "";
  before = [now, moment.timeSecs];
  run.textContent = moment.runs ? "Pause" : "Run";
  step.disabled = moment.runs;
  readout.update(moment);
}

let written = 0;
let unwritten = false;

function draw(now: number): void {
  requestAnimationFrame(draw);
  if (fresh) {
    simward.moment = fresh;
    fresh = null;
    view.model?.apply(simward.moment);
    hand.update();
    view.touch();
    unwritten = true;
    simward.momentsDrawn++;
    connection.send({ ask: "more" });
  }
  view.draw();
  if (simward.moment && unwritten && READOUT_EVERY <= now - written) {
    write(simward.moment, now);
    [written, unwritten] = [now, false];
  }
}
requestAnimationFrame(draw);
