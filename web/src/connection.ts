// The connection to the session, which is made again when it is lost.

import { Reader, type Ask, type Moment, type Shape, type Tell } from "./wire";

/** The link was closed, or its token is wrong. */
const NO_RIGHT = 4401;
/** The session has no such model. */
const NO_MODEL = 4404;

/** How long to wait before the next try, in milliseconds. */
const PAUSE_FIRST = 500;
const PAUSE_MAX = 5000;

export interface Listener {
  hello(hello: Extract<Tell, { tell: "hello" }>): void;
  shape(shape: Shape): void;
  moment(moment: Moment): void;
  refused(ask: string, why: string): void;
  /** What the user should know of the connection; empty if all is well. */
  status(text: string): void;
}

export class Connection {
  private socket: WebSocket | null = null;
  private pause = PAUSE_FIRST;
  private retry = 0;

  constructor(
    private readonly token: string,
    private model: string | null,
    private readonly listener: Listener,
  ) {
    this.connect();
  }

  /** Shows another model of the session. */
  show(model: string): void {
    this.model = model;
    this.pause = PAUSE_FIRST;
    this.connect();
  }

  send(ask: Ask): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(ask));
  }

  private connect(): void {
    clearTimeout(this.retry);
    if (this.socket) {
      this.socket.onclose = null;
      this.socket.close();
    }
    const query = new URLSearchParams({ token: this.token });
    if (this.model !== null) query.set("model", this.model);
    const socket = new WebSocket(`ws://${location.host}/viewer/stream?${query.toString()}`);
    socket.binaryType = "arraybuffer";
    const reader = new Reader();
    socket.onmessage = (event) => {
      if (typeof event.data === "string") {
        this.hear(JSON.parse(event.data) as Tell);
        return;
      }
      const read = reader.read(event.data as ArrayBuffer);
      if (!read) return;
      if ("shape" in read) this.listener.shape(read.shape);
      else this.listener.moment(read.moment);
    };
    socket.onclose = (event) => this.lost(event);
    this.socket = socket;
  }

  private hear(tell: Tell): void {
    if (tell.tell === "hello") {
      this.pause = PAUSE_FIRST;
      this.listener.status("");
      this.listener.hello(tell);
    } else if (tell.tell === "refused") {
      this.listener.refused(tell.ask, tell.why);
    }
  }

  private lost(event: CloseEvent): void {
    if (event.code === NO_RIGHT) {
      this.listener.status("This link was closed. Ask for a new one.");
      return;
    }
    const why =
      event.code === NO_MODEL
        ? "The session has no model to show yet."
        : event.reason || "No connection: the session sleeps, has ended, or its link was closed.";
    this.listener.status(why);
    this.retry = window.setTimeout(() => this.connect(), this.pause);
    this.pause = Math.min(2 * this.pause, PAUSE_MAX);
  }
}
