// The model in the scene: a group for every body, with the body's geometries in it.

import {
  CanvasTexture,
  Color,
  DoubleSide,
  Group,
  Mesh,
  MeshStandardMaterial,
  NearestFilter,
  RepeatWrapping,
  SRGBColorSpace,
} from "three";
import { Geometries, planeSize } from "./geometry";
import type { Geom, Moment, Shape } from "./wire";

/** Groups of geometries that are shown unless the user says otherwise, as in MuJoCo's own viewer. */
const GROUPS_SHOWN = [0, 1, 2];

export class Model extends Group {
  readonly bodies: Group[] = [];
  readonly geoms: (Mesh | null)[] = [];
  readonly groups: number[];

  constructor(readonly shape: Shape) {
    super();
    const { description } = shape;
    for (const name of description.bodies) {
      const body = new Group();
      body.name = name;
      body.userData.body = this.bodies.length;
      this.bodies.push(body);
      this.add(body);
    }
    const geometries = new Geometries(shape);
    for (const geom of description.geoms) this.geoms.push(this.draw(geom, geometries));
    this.groups = [...new Set(description.geoms.map((geom) => geom.group))].sort((a, b) => a - b);
    for (const group of this.groups) this.showGroup(group, GROUPS_SHOWN.includes(group));
  }

  private draw(geom: Geom, geometries: Geometries): Mesh | null {
    const body = this.bodies[geom.body];
    const geometry = geometries.of(geom);
    if (!body || !geometry) return null;
    const [red, green, blue, alpha] = geom.rgba;
    const color = new Color().setRGB(red, green, blue, SRGBColorSpace);
    const material = new MeshStandardMaterial({ color, roughness: 0.65, metalness: 0.05 });
    if (alpha < 1) {
      material.transparent = true;
      material.opacity = alpha;
      material.depthWrite = false;
    }
    const mesh = new Mesh(geometry, material);
    mesh.castShadow = geom.type !== "plane" && alpha === 1;
    mesh.receiveShadow = true;
    if (geom.type === "plane") {
      material.side = DoubleSide;
      material.map = checker(planeSize(geom, this.shape.description.extent));
    }
    mesh.position.fromArray(geom.pos);
    const [w, x, y, z] = geom.quat;
    mesh.quaternion.set(x, y, z, w);
    mesh.userData.body = geom.body;
    mesh.userData.alpha = alpha;
    body.add(mesh);
    return mesh;
  }

  /** Whether the geometries of a group are seen. What is wholly transparent never is. */
  showGroup(group: number, shown: boolean): void {
    this.shape.description.geoms.forEach((geom, index) => {
      const mesh = this.geoms[index];
      if (mesh && geom.group === group) mesh.visible = shown && geom.rgba[3] > 0;
    });
  }

  isGroupShown(group: number): boolean {
    const { geoms } = this.shape.description;
    return geoms.some((geom, index) => geom.group === group && this.geoms[index]?.visible);
  }

  /** Brings every body to where it is at that moment. */
  apply(moment: Moment): void {
    const { xpos, xquat } = moment;
    this.bodies.forEach((body, index) => {
      body.position.fromArray(xpos, 3 * index);
      const at = 4 * index;
      body.quaternion.set(xquat[at + 1]!, xquat[at + 2]!, xquat[at + 3]!, xquat[at]!);
    });
  }

  dispose(): void {
    for (const mesh of this.geoms) {
      if (!mesh) continue;
      mesh.geometry.dispose();
      const material = mesh.material as MeshStandardMaterial;
      material.map?.dispose();
      material.dispose();
    }
  }
}

/** Squares of a metre, so that it is seen how the model moves over the ground. */
function checker([width, height]: [number, number]): CanvasTexture {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 2;
  const context = canvas.getContext("2d")!;
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, 2, 2);
  context.fillStyle = "#d5dae0";
  context.fillRect(0, 0, 1, 1);
  context.fillRect(1, 1, 1, 1);
  const texture = new CanvasTexture(canvas);
  texture.colorSpace = SRGBColorSpace;
  texture.magFilter = NearestFilter;
  texture.wrapS = texture.wrapT = RepeatWrapping;
  texture.repeat.set(width / 2, height / 2);
  return texture;
}
