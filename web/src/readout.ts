// The values of joints and actuators, beside the picture.

import type { Moment, Shape } from "./wire";

/** How many of each kind are listed. */
const ENTRIES_MAX = 60;

interface Entry {
  at: number;
  values: "positions" | "controls" | "forces";
  value: HTMLElement;
  bar: HTMLElement | null;
  range: [number, number] | null;
  unit: string;
}

export class Readout {
  private entries: Entry[] = [];

  constructor(private readonly panel: HTMLElement) {}

  /** Lists what a model has. */
  show(shape: Shape): void {
    const { joints, actuators, counts } = shape.description;
    this.panel.replaceChildren();
    this.entries = [];
    const single = joints.filter((joint) => joint.type === "hinge" || joint.type === "slide");
    this.list("Joints", single, (joint) => {
      const unit = joint.type === "hinge" ? "rad" : "m";
      this.entry(joint.name, "positions", joint.at, joint.range, unit);
    });
    // A control for every actuator is the rule; where it is not, they cannot be told apart here.
    if (actuators.length === counts[1]) {
      this.list("Controls", actuators, (actuator, index) => {
        this.entry(actuator.name, "controls", index, actuator.range, "");
      });
    }
    if (actuators.length === counts[2]) {
      this.list("Actuator forces", actuators, (actuator, index) => {
        this.entry(actuator.name, "forces", index, null, "");
      });
    }
  }

  update(moment: Moment): void {
    for (const { at, values, value, bar, range, unit } of this.entries) {
      const now = moment[values][at] ?? Number.NaN;
      value.textContent = unit ? `${now.toFixed(3)} ${unit}` : now.toFixed(3);
      if (!bar || !range) continue;
      const share = Math.min(Math.max((now - range[0]) / (range[1] - range[0]), 0), 1);
      bar.style.marginLeft = `calc(${(100 * share).toFixed(1)}% - ${(3 * share).toFixed(1)}px)`;
    }
  }

  private list<T>(title: string, items: T[], each: (item: T, index: number) => void): void {
    if (items.length === 0) return;
    const heading = document.createElement("h2");
    heading.textContent = title;
    this.panel.append(heading);
    items.slice(0, ENTRIES_MAX).forEach(each);
    if (items.length > ENTRIES_MAX) {
      const note = document.createElement("div");
      note.className = "note";
      note.textContent = `and ${items.length - ENTRIES_MAX} more`;
      this.panel.append(note);
    }
  }

  private entry(
    name: string,
    values: Entry["values"],
    at: number,
    range: [number, number] | null,
    unit: string,
  ): void {
    const row = document.createElement("div");
    row.className = "entry";
    const label = document.createElement("span");
    label.className = "label";
    label.textContent = label.title = name;
    const value = document.createElement("span");
    value.className = "value";
    row.append(label, value);
    let bar: HTMLElement | null = null;
    if (range) {
      const track = document.createElement("div");
      track.className = "bar";
      bar = document.createElement("i");
      track.append(bar);
      row.append(track);
    }
    this.panel.append(row);
    this.entries.push({ at, values, value, bar, range, unit });
  }
}
