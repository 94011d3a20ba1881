// The camera, the lights and the picture. It is drawn again only when something has changed.

import {
  Color,
  DirectionalLight,
  Fog,
  HemisphereLight,
  PCFShadowMap,
  PerspectiveCamera,
  Raycaster,
  Scene,
  Vector2,
  Vector3,
  WebGLRenderer,
  type Intersection,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import type { Model } from "./model";

export class View {
  readonly scene = new Scene();
  readonly camera = new PerspectiveCamera(45, 1, 0.01, 1000);
  readonly renderer: WebGLRenderer;
  readonly controls: OrbitControls;
  model: Model | null = null;
  private readonly sun = new DirectionalLight(0xffffff, 2);
  private readonly headlight = new DirectionalLight(0xffffff, 0.8);
  private changed = true;

  constructor(readonly canvas: HTMLCanvasElement) {
    this.renderer = new WebGLRenderer({ canvas, antialias: true });
    this.renderer.shadowMap.enabled = true;
    this.renderer.shadowMap.type = PCFShadowMap;
    this.scene.background = new Color(0x38424e);
    this.camera.up.set(0, 0, 1);
    this.camera.position.set(3, -3, 2);
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.addEventListener("change", () => this.touch());
    this.scene.add(new HemisphereLight(0xffffff, 0x667788, 1.2));
    this.sun.castShadow = true;
    this.sun.shadow.mapSize.set(2048, 2048);
    this.scene.add(this.sun, this.sun.target, this.camera);
    this.camera.add(this.headlight);
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  /** Something has changed. */
  touch(): void {
    this.changed = true;
  }

  /** Draws what has changed. */
  draw(): void {
    this.controls.update();
    if (!this.changed) return;
    this.changed = false;
    this.renderer.render(this.scene, this.camera);
  }

  /** Shows a model; `anew` tells whether to look at it from the usual place. */
  show(model: Model, anew: boolean): void {
    if (this.model) {
      this.scene.remove(this.model);
      this.model.dispose();
    }
    this.model = model;
    this.scene.add(model);
    if (anew) this.lookAt(model);
    this.touch();
  }

  /** What is under a point of the canvas, nearest first. */
  pick(event: PointerEvent): Intersection[] {
    if (!this.model) return [];
    const caster = this.casterAt(event);
    const seen = this.model.geoms.filter((mesh) => mesh?.visible).map((mesh) => mesh!);
    return caster.intersectObjects(seen, false);
  }

  casterAt(event: PointerEvent): Raycaster {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const x = (2 * (event.clientX - left)) / width - 1;
    const y = 1 - (2 * (event.clientY - top)) / height;
    const caster = new Raycaster();
    caster.setFromCamera(new Vector2(x, y), this.camera);
    return caster;
  }

  private lookAt(model: Model): void {
    const { center, extent: given } = model.shape.description;
    const extent = Math.max(given, 0.01);
    const target = new Vector3().fromArray(center);
    this.controls.target.copy(target);
    this.camera.position.copy(target).add(new Vector3(1.1, -1.1, 0.6).multiplyScalar(extent));
    this.camera.near = extent / 200;
    this.camera.far = extent * 100;
    this.camera.updateProjectionMatrix();
    this.scene.fog = new Fog(0x38424e, extent * 8, extent * 40);
    const reach = 1.5 * extent;
    this.sun.target.position.copy(target);
    this.sun.position.copy(target).add(new Vector3(0.5, -0.4, 1.4).multiplyScalar(2 * extent));
    const { camera } = this.sun.shadow;
    [camera.left, camera.right, camera.bottom, camera.top] = [-reach, reach, -reach, reach];
    [camera.near, camera.far] = [extent / 10, 6 * extent];
    camera.updateProjectionMatrix();
    this.sun.shadow.bias = -0.0005;
    this.sun.shadow.normalBias = extent / 500;
    this.controls.update();
  }

  private resize(): void {
    const { clientWidth, clientHeight } = this.canvas;
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.renderer.setSize(clientWidth, clientHeight, false);
    this.camera.aspect = clientWidth / Math.max(clientHeight, 1);
    this.camera.updateProjectionMatrix();
    this.touch();
  }
}
