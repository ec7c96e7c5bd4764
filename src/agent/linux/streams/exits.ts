import { ExitSource, MAX_HELD_EXITS } from '../processes/exits.ts';
import { OptionalSource } from '../source-state/optional-source.ts';
import type { EventSource, SourceDeclaration, SourceHost } from './event-source.ts';
import { START_RULES } from './starts.ts';

/** Exits of processes, from the process connector, which reports only the process id. The program is known from the start. */
export const exits: SourceDeclaration = {
  streams: ['exits'],
  feeds: ['audit', 'starts'],
  auditRules: START_RULES,
  make: (host) => new Exits(host),
};

class Exits implements EventSource {
  readonly #host: SourceHost;
  readonly #source: OptionalSource<ExitSource>;

  constructor(host: SourceHost) {
    this.#host = host;
    const { times, table, sink, clock, log, hostRoot } = host;
    const held = host.held('exits', MAX_HELD_EXITS);
    const startsRead = () => times.startsRead();
    const startsSettled = () => times.startsSettled();
    const parts = { table, sink, clock, log, hostRoot, startsRead, startsSettled, ...(held && { held }) };
    this.#source = new OptionalSource((onLost) => new ExitSource({ ...parts, onLost }));
  }

  /** Opened before the feeds, so that the exit of every process whose start is reported is reported, too. */
  prepare(isWanted: boolean): Promise<void> {
    return this.follow(isWanted);
  }

  async follow(isWanted: boolean): Promise<void> {
    const before = this.#host.clock.monotonic();
    if (await this.#source.want(isWanted)) this.#host.times.listenToExits(before);
  }

  status() {
    return this.#source.status(() => ({ state: 'on', source: 'procConnector' }));
  }

  close(): Promise<void> {
    return this.#source.close();
  }
}
