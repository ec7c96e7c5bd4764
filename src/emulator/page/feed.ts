import type { ServerResponse } from 'node:http';
import type { Clock } from '../../core/base/clock.ts';
import { milliseconds } from '../../core/base/duration.ts';
import type { HubEmulator } from '../hub.ts';
import { type ModuleId, nameOf } from '../identity.ts';
import type { ReceivedMessage } from '../message-log.ts';
import type { Hello, HubState, Rows, StreamEvents } from './protocol.ts';
import { rowOf } from './rows.ts';
import { Tally } from './tally.ts';

/** Interval between updates: many messages cost a browser as little as a few. */
const EVERY = milliseconds(250);
/**
 * Number of rounds between reads of the state, and until an idle stream gets a comment, so that a dead one is detected.
 */
const ROUNDS_PER_READ = 4;
const ROUNDS_PER_COMMENT = 60;

/** Maximum number of messages and body bytes per update; the oldest are skipped. */
const MAX_MESSAGES = 300;
const MAX_BYTES = 1024 * 1024;
/** Maximum number of changed twins named in one update. */
const MAX_TWINS = 100;
/** Maximum number of listed modules. */
const MAX_MODULES = 200;

const MAX_BROWSERS = 8;
/** Maximum number of bytes queued for a browser. A slower browser is disconnected, reconnects, and starts again. */
const MAX_BACKLOG = 8 * 1024 * 1024;

/**
 * Sends the activity at the hub to browsers as Server-Sent Events. The hub never waits for a browser, and the data queued
 * for browsers is limited.
 */
export class Feed {
  readonly #hub: HubEmulator;
  readonly #clock: Clock;
  readonly #forms: Pick<Hello, 'object' | 'settings' | 'methods' | 'faults'>;
  readonly #tally = new Tally();
  readonly #browsers = new Set<ServerResponse>();
  readonly #closed = new AbortController();
  readonly #twins = new Set<string>();
  #pending: ReceivedMessage[] = [];
  #skipped = 0;
  #isRunning = false;
  #state = '';

  constructor(hub: HubEmulator, clock: Clock, forms: Pick<Hello, 'object' | 'settings' | 'methods' | 'faults'>) {
    this.#hub = hub;
    this.#clock = clock;
    this.#forms = forms;
    for (const message of hub.messages) this.#tally.add(message);
    hub.on('message', this.#take);
    hub.on('reported', this.#noteTwin);
    hub.on('desired', this.#noteTwin);
  }

  /** Whether the maximum number of browsers is connected. */
  get isFull(): boolean {
    return this.#browsers.size >= MAX_BROWSERS;
  }

  /**
   * Sends the stored messages, then each new one, until the browser disconnects.
   *
   * @param after only messages with a later number
   */
  join(response: ServerResponse, after: number): void {
    this.#flush(); // for the connected browsers, so that this one gets no duplicates
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    response.on('error', () => {}); // the browser has disconnected, which 'close' reports, too
    response.once('close', () => this.#browsers.delete(response));
    this.#browsers.add(response);
    const { alerts, minutes, totals } = this.#tally;
    const rows = rowsOf(this.#hub.messages.filter(({ sequence }) => sequence > after));
    this.#send([response], 'hello', { ...this.#forms, state: this.state(), alerts, minutes, totals, rows });
    if (!this.#isRunning) void this.#run();
  }

  state(): HubState {
    const { hostName, port, isOnline: online, modules, faults } = this.#hub;
    const connected = modules.filter((module) => module.connected);
    const disconnected = modules.filter((module) => !module.connected);
    const listed = (modules.length <= MAX_MODULES ? modules : [...connected, ...disconnected]).slice(0, MAX_MODULES);
    return {
      hostName,
      port,
      online,
      modules: listed,
      modulesLeft: modules.length - listed.length,
      connected: connected.length,
      faults: faults.active().map(({ kind, hits }) => ({ kind, hits })),
    };
  }

  close(): void {
    this.#hub.off('message', this.#take);
    this.#hub.off('reported', this.#noteTwin);
    this.#hub.off('desired', this.#noteTwin);
    this.#closed.abort();
    for (const browser of this.#browsers) browser.destroy();
  }

  readonly #take = (message: ReceivedMessage): void => {
    this.#tally.add(message);
    if (this.#browsers.size === 0) return;
    this.#pending.push(message);
    if (this.#pending.length <= MAX_MESSAGES) return;
    this.#pending.shift();
    this.#skipped += 1;
  };

  readonly #noteTwin = ({ deviceId, moduleId }: ModuleId): void => {
    if (this.#browsers.size > 0 && this.#twins.size <= MAX_TWINS) this.#twins.add(nameOf({ deviceId, moduleId }));
  };

  /** Runs while browsers are connected. */
  async #run(): Promise<void> {
    this.#isRunning = true;
    const { signal } = this.#closed;
    for (let round = 1; ; round++) {
      await this.#clock.sleep(EVERY, signal);
      if (signal.aborted || this.#browsers.size === 0) break;
      this.#flush();
      if (round % ROUNDS_PER_READ === 0) this.look();
      if (round % ROUNDS_PER_COMMENT === 0) this.#write(this.#browsers, ':\n\n');
    }
    this.#isRunning = false;
    this.#pending = [];
    this.#skipped = 0;
    this.#twins.clear();
  }

  /** Sends the messages received since the last update. */
  #flush(): void {
    const { minutes, alerts } = this.#tally.takeChanged();
    if (minutes.length > 0) {
      const { messages, skipped } = rowsOf(this.#pending);
      const news = { messages, skipped: skipped + this.#skipped, minutes, alerts, totals: this.#tally.totals };
      this.#pending = [];
      this.#skipped = 0;
      this.#send(this.#browsers, 'news', news);
    }
    if (this.#twins.size > 0) {
      const any = this.#twins.size > MAX_TWINS;
      this.#send(this.#browsers, 'twin', { modules: any ? [] : [...this.#twins], any });
      this.#twins.clear();
    }
  }

  /** Sends the hub's state to browsers if it has changed: not every part of it has an event. */
  look(): void {
    const state = this.state();
    const text = JSON.stringify(state);
    if (text !== this.#state) this.#send(this.#browsers, 'state', state);
    this.#state = text;
  }

  #send<E extends keyof StreamEvents>(browsers: Iterable<ServerResponse>, event: E, data: StreamEvents[E]): void {
    this.#write(browsers, `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  #write(browsers: Iterable<ServerResponse>, text: string): void {
    for (const browser of browsers) {
      browser.write(text);
      if (browser.writableLength > MAX_BACKLOG) browser.destroy();
    }
  }
}

/** The latest messages, within the limits. */
function rowsOf(messages: readonly ReceivedMessage[]): Rows {
  const latest: ReceivedMessage[] = [];
  let bytes = 0;
  for (const message of messages.slice(-MAX_MESSAGES).reverse()) {
    bytes += message.sizeBytes;
    if (bytes > MAX_BYTES && latest.length > 0) break;
    latest.push(message);
  }
  return { messages: latest.reverse().map(rowOf), skipped: messages.length - latest.length };
}
