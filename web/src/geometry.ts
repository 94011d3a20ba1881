// MuJoCo's geometries as three.js draws them, each in its own frame.

import {
  BoxGeometry,
  BufferAttribute,
  BufferGeometry,
  CapsuleGeometry,
  CylinderGeometry,
  PlaneGeometry,
  SphereGeometry,
} from "three";
import type { Geom, Hfield, Mesh, Shape } from "./wire";

/** How far a plane without an end is drawn, in extents of the model. */
const PLANE_EXTENTS = 30;

export class Geometries {
  private readonly meshes = new Map<number, BufferGeometry>();
  private readonly hfields = new Map<number, BufferGeometry>();

  constructor(private readonly shape: Shape) {}

  /** The geometry, if it can be drawn. */
  of(geom: Geom): BufferGeometry | null {
    const [x, y, z] = geom.size;
    switch (geom.type) {
      case "plane": {
        const [width, height] = planeSize(geom, this.shape.description.extent);
        return new PlaneGeometry(width, height);
      }
      case "sphere":
        return new SphereGeometry(x, 32, 20);
      case "ellipsoid":
        return new SphereGeometry(1, 32, 20).scale(x, y, z);
      case "capsule":
        return new CapsuleGeometry(x, 2 * y, 10, 24).rotateX(Math.PI / 2);
      case "cylinder":
        return new CylinderGeometry(x, x, 2 * y, 32).rotateX(Math.PI / 2);
      case "box":
        return new BoxGeometry(2 * x, 2 * y, 2 * z);
      case "mesh":
        return this.cached(this.meshes, geom.data, this.shape.description.meshes, (mesh) =>
          fromMesh(this.shape, mesh),
        );
      case "hfield":
        return this.cached(this.hfields, geom.data, this.shape.description.hfields, (field) =>
          fromHfield(this.shape, field),
        );
    }
  }

  private cached<T>(
    made: Map<number, BufferGeometry>,
    index: number,
    known: (T | null)[],
    make: (one: T) => BufferGeometry,
  ): BufferGeometry | null {
    const before = made.get(index);
    if (before) return before;
    const one = known[index];
    if (!one) return null;
    const geometry = make(one);
    made.set(index, geometry);
    return geometry;
  }
}

/** Width and height of a plane; half a size of zero means that it has no end. */
export function planeSize(geom: Geom, extent: number): [number, number] {
  const endless = 2 * PLANE_EXTENTS * Math.max(extent, 1);
  const [x, y] = geom.size;
  return [x > 0 ? 2 * x : endless, y > 0 ? 2 * y : endless];
}

/** Every triangle has corners of its own, so that edges stay sharp where the model has them so. */
function fromMesh(shape: Shape, mesh: Mesh): BufferGeometry {
  const vertices = shape.floats(mesh.vertices);
  const normals = shape.floats(mesh.normals);
  const faces = shape.integers(mesh.faces);
  const faceNormals = shape.integers(mesh.face_normals);
  const corners = new Float32Array(3 * faces.length);
  const directions = new Float32Array(3 * faces.length);
  for (let corner = 0; corner < faces.length; corner++) {
    const vertex = 3 * faces[corner]!;
    const normal = 3 * faceNormals[corner]!;
    for (let axis = 0; axis < 3; axis++) {
      corners[3 * corner + axis] = vertices[vertex + axis]!;
      directions[3 * corner + axis] = normals[normal + axis]!;
    }
  }
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(corners, 3));
  geometry.setAttribute("normal", new BufferAttribute(directions, 3));
  return geometry;
}

function fromHfield(shape: Shape, field: Hfield): BufferGeometry {
  const { rows, columns } = field;
  const [x, y, top] = field.size;
  const heights = shape.floats(field.heights);
  const corners = new Float32Array(3 * rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const at = row * columns + column;
      corners[3 * at] = x * ((2 * column) / (columns - 1) - 1);
      corners[3 * at + 1] = y * ((2 * row) / (rows - 1) - 1);
      corners[3 * at + 2] = top * heights[at]!;
    }
  }
  const faces: number[] = [];
  for (let row = 0; row + 1 < rows; row++) {
    for (let column = 0; column + 1 < columns; column++) {
      const at = row * columns + column;
      faces.push(at, at + 1, at + columns, at + 1, at + columns + 1, at + columns);
    }
  }
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(corners, 3));
  geometry.setIndex(faces);
  geometry.computeVertexNormals();
  return geometry;
}
