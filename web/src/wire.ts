// What travels between the page and the session. The other side is worker/src/endpoint/message.rs,
// worker/src/world/shape.rs and worker/src/world/moment.rs.

const SHAPE = 1;
const MOMENT = 2;
const RUNS = 1;

/** The longest shape that is believed, in bytes. */
const SHAPE_BYTES_MAX = 256 * 1024 * 1024;

/** The first word in the attachment, and how many. */
export type Place = [first: number, count: number];

export interface Geom {
  body: number;
  type: "plane" | "hfield" | "sphere" | "capsule" | "ellipsoid" | "cylinder" | "box" | "mesh";
  size: [number, number, number];
  pos: [number, number, number];
  quat: [number, number, number, number];
  rgba: [number, number, number, number];
  group: number;
  data: number;
}

export interface Joint {
  name: string;
  type: "free" | "ball" | "slide" | "hinge";
  at: number;
  range: [number, number] | null;
}

export interface Actuator {
  name: string;
  range: [number, number] | null;
}

export interface Mesh {
  vertices: Place;
  normals: Place;
  faces: Place;
  face_normals: Place;
}

export interface Hfield {
  rows: number;
  columns: number;
  size: [number, number, number, number];
  heights: Place;
}

export interface Description {
  name: string | null;
  timestep_secs: number;
  center: [number, number, number];
  extent: number;
  counts: [positions: number, controls: number, forces: number];
  bodies: string[];
  geoms: Geom[];
  joints: Joint[];
  actuators: Actuator[];
  meshes: (Mesh | null)[];
  hfields: (Hfield | null)[];
}

/** What the model looks like. */
export interface Shape {
  edition: number;
  description: Description;
  floats(place: Place): Float32Array;
  integers(place: Place): Int32Array;
}

/** The model at a moment. */
export interface Moment {
  edition: number;
  runs: boolean;
  timeSecs: number;
  steps: number;
  /** Three for every body. */
  xpos: Float32Array;
  /** Four for every body: w, x, y, z. */
  xquat: Float32Array;
  positions: Float32Array;
  controls: Float32Array;
  forces: Float32Array;
}

export type Ask =
  | { ask: "more" | "run" | "pause" | "reset" | "let_go" }
  | { ask: "step"; steps: number }
  | { ask: "pull"; body: number; at: number[]; to: number[] };

export type Tell =
  | { tell: "hello"; session_id: string; models: string[]; model_id: string; may_steer: boolean }
  | { tell: "done"; ask: string }
  | { tell: "refused"; ask: string; why: string };

/** Puts the pieces of a shape together, and takes moments apart. */
export class Reader {
  private bytes: Uint8Array<ArrayBuffer> | null = null;
  private received = 0;
  private shape: Shape | null = null;

  /** What a message completes, if anything. */
  read(message: ArrayBuffer): { shape: Shape } | { moment: Moment } | null {
    const view = new DataView(message);
    switch (view.getUint32(0, true)) {
      case SHAPE:
        return this.readPiece(view, message);
      case MOMENT:
        return this.readMoment(view, message);
      default:
        return null;
    }
  }

  private readPiece(view: DataView, message: ArrayBuffer): { shape: Shape } | null {
    const edition = view.getUint32(4, true);
    const whole = view.getUint32(8, true);
    const begin = view.getUint32(12, true);
    if (whole > SHAPE_BYTES_MAX) throw new Error("the model is too large to be shown");
    if (begin === 0) {
      this.bytes = new Uint8Array(whole);
      this.received = 0;
    }
    if (!this.bytes) return null;
    this.bytes.set(new Uint8Array(message, 16), begin);
    this.received += message.byteLength - 16;
    if (this.received < whole) return null;
    this.shape = parse(edition, this.bytes.buffer);
    this.bytes = null;
    return { shape: this.shape };
  }

  private readMoment(view: DataView, message: ArrayBuffer): { moment: Moment } | null {
    const edition = view.getUint32(4, true);
    if (edition !== this.shape?.edition) return null;
    const { bodies, counts } = this.shape.description;
    let at = 32;
    const next = (count: number): Float32Array => {
      const part = new Float32Array(message, at, count);
      at += 4 * count;
      return part;
    };
    const moment: Moment = {
      edition,
      runs: (view.getUint32(8, true) & RUNS) !== 0,
      timeSecs: view.getFloat64(16, true),
      steps: Number(view.getBigUint64(24, true)),
      xpos: next(3 * bodies.length),
      xquat: next(4 * bodies.length),
      positions: next(counts[0]),
      controls: next(counts[1]),
      forces: next(counts[2]),
    };
    return { moment };
  }
}

function parse(edition: number, buffer: ArrayBuffer): Shape {
  const length = new DataView(buffer).getUint32(0, true);
  const text = new TextDecoder().decode(new Uint8Array(buffer, 4, length));
  const attachment = 4 + Math.ceil(length / 4) * 4;
  return {
    edition,
    description: JSON.parse(text) as Description,
    floats: ([first, count]) => new Float32Array(buffer, attachment + 4 * first, count),
    integers: ([first, count]) => new Int32Array(buffer, attachment + 4 * first, count),
  };
}
