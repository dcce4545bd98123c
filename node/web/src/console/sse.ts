/** One server-sent event. */
export interface ServerSentEvent {
  /** Its name; `message` where the server gave none. */
  event: string;
  /** Its lines, joined. */
  data: string;
}

/**
 * Reads a stream of server-sent events, of which any piece may end anywhere. The browser's own EventSource cannot
 * show a token, hence this.
 */
export class SseParser {
  #buffer = '';
  #event = '';
  #data: string[] = [];

  /** Takes in a piece; answers the events that are whole now. */
  push(piece: string): ServerSentEvent[] {
    this.#buffer += piece;
    const events: ServerSentEvent[] = [];
    for (;;) {
      const end = /\r\n|\n|\r(?!$)/.exec(this.#buffer);
      if (!end) return events;
      const line = this.#buffer.slice(0, end.index);
      this.#buffer = this.#buffer.slice(end.index + end[0].length);
      if (line === '') {
        if (this.#data.length) events.push({ event: this.#event || 'message', data: this.#data.join('\n') });
        this.#event = '';
        this.#data = [];
        continue;
      }
      const colon = line.indexOf(':');
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'event') this.#event = value;
      else if (field === 'data') this.#data.push(value);
    }
  }
}
