/** The node answered a request with a failure. */
export class RequestError extends Error {
  /** The method that was asked for. */
  readonly method: string;
  /** The node's error code, HTTP-like. */
  readonly code: number;

  /** Made by the SDK. */
  constructor(method: string, code: number, reason: string) {
    super(reason || `${method} failed`);
    this.name = 'RequestError';
    this.method = method;
    this.code = code;
  }

  /** Whether asking another node again cannot help: the request itself was refused. */
  get final(): boolean {
    return this.code >= 400 && this.code < 500 && this.code !== 408 && this.code !== 429;
  }
}

/** A request was not answered in time. */
export class RequestTimeout extends Error {
  /** The method that was asked for. */
  readonly method: string;

  /** Made by the SDK. */
  constructor(method: string, milliseconds: number) {
    super(`${method} was not answered within ${Math.round(milliseconds / 1000)} s`);
    this.name = 'RequestTimeout';
    this.method = method;
  }
}

/** The WebSocket could not be opened, or closed while something was waiting for it. */
export class ConnectionLost extends Error {
  /** The WebSocket's close code; 1006 where it never opened. */
  readonly code: number;
  /** The reason the node gave, if any. */
  readonly reason: string;

  /** Made by the SDK. */
  constructor(code: number, reason: string, what = 'the connection closed') {
    // 1005 and 1006 are the browser's ways to say that nobody gave a code.
    super(reason || (code === 1005 || code === 1006 ? what : `${what} (code ${code})`));
    this.name = 'ConnectionLost';
    this.code = code;
    this.reason = reason;
  }
}

/** The room is closed for this client: refused, kicked, replaced, or left. */
export class RoomClosed extends Error {
  /** Made by the SDK. */
  constructor(reason: string) {
    super(reason);
    this.name = 'RoomClosed';
  }
}

/** Why a camera, microphone or screen is not there. */
export type MediaErrorKind = 'denied' | 'missing' | 'busy' | 'insecure' | 'unsupported' | 'failed';

/** A camera, microphone or screen could not be had. */
export class MediaError extends Error {
  /** Why, for programs. */
  readonly kind: MediaErrorKind;

  /** Made by the SDK. */
  constructor(kind: MediaErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'MediaError';
    this.kind = kind;
  }
}
