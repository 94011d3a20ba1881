// Pulling at a body: Ctrl and drag.

import { BufferGeometry, Line, LineBasicMaterial, Plane, Vector3 } from "three";
import type { View } from "./view";
import type { Ask } from "./wire";

/** How often the session is told where the hand is, in milliseconds. */
const EVERY = 33;

export class Hand {
  /** Whether this viewer may pull. */
  allowed = false;
  private body = 0;
  private readonly at = new Vector3();
  private readonly to = new Vector3();
  private readonly plane = new Plane();
  private readonly line: Line;
  private timer = 0;

  constructor(
    private readonly view: View,
    private readonly send: (ask: Ask) => void,
  ) {
    const material = new LineBasicMaterial({ color: 0xff6655, depthTest: false });
    this.line = new Line(new BufferGeometry(), material);
    this.line.visible = false;
    this.line.frustumCulled = false;
    view.scene.add(this.line);
    // Before the camera's controls see it.
    view.canvas.addEventListener("pointerdown", (event) => this.grab(event), { capture: true });
    view.canvas.addEventListener("pointermove", (event) => this.move(event));
    view.canvas.addEventListener("pointerup", () => this.letGo());
    view.canvas.addEventListener("pointercancel", () => this.letGo());
  }

  /** Draws the line from the body to the hand. */
  update(): void {
    const body = this.view.model?.bodies[this.body];
    if (!this.line.visible || !body) return;
    const from = body.localToWorld(this.at.clone());
    this.line.geometry.setFromPoints([from, this.to]);
  }

  private grab(event: PointerEvent): void {
    if (!this.allowed || !event.ctrlKey || event.button !== 0) return;
    const hit = this.view.pick(event)[0];
    const body = hit?.object.userData.body as number | undefined;
    // The world itself cannot be pulled.
    if (!hit || !body) return;
    event.stopImmediatePropagation();
    this.view.canvas.setPointerCapture(event.pointerId);
    this.view.controls.enabled = false;
    this.body = body;
    this.to.copy(hit.point);
    this.at.copy(this.view.model!.bodies[body]!.worldToLocal(hit.point.clone()));
    const towards = this.view.camera.getWorldDirection(new Vector3());
    this.plane.setFromNormalAndCoplanarPoint(towards, hit.point);
    this.line.visible = true;
    this.tell();
    this.timer = window.setInterval(() => this.tell(), EVERY);
  }

  private move(event: PointerEvent): void {
    if (!this.line.visible) return;
    this.view.casterAt(event).ray.intersectPlane(this.plane, this.to);
    this.view.touch();
  }

  private letGo(): void {
    if (!this.line.visible) return;
    clearInterval(this.timer);
    this.line.visible = false;
    this.view.controls.enabled = true;
    this.send({ ask: "let_go" });
    this.view.touch();
  }

  private tell(): void {
    const { body, at, to } = this;
    this.send({ ask: "pull", body, at: at.toArray(), to: to.toArray() });
  }
}
