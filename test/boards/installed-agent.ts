import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import type { LocalStatus } from '../../src/agent/status/schema.ts';
import { type Duration, minutes, seconds } from '../../src/core/base/duration.ts';
import type { Envelope, Payload } from '../../src/core/contract/event.ts';
import { TOP } from '../harness/top.ts';
import { until } from '../harness/until.ts';
import { DEVICE, MODULE, NO_LIMITS, QUICK, TestBed } from '../integration/test-bed.ts';
import type { Architecture } from './architectures.ts';
import type { Board } from './board.ts';
import { HUB_NAME } from './image.ts';

/** Time limit for waits: the agent's CPU is emulated, and the machine may be loaded. */
const WAIT = minutes(6);

/** Messages every second, without aggregation. */
export const DESIRED = {
  ...QUICK,
  // Only one, at the start: each takes seconds on the emulated CPU.
  snapshotFrequency: { value: 'PT13H' },
  maxLocalCacheSizeInBytes: { value: 64_000_000 },
};

/** On a loaded machine, an emulated CPU may exceed the unit's own time limits. */
const LONGER_LIMITS = '[Service]\nTimeoutStartSec=15min\nTimeoutStopSec=10min\nWatchdogSec=15min\n';

/** Reads the built package of an architecture. */
function packageOf({ name }: Architecture): Buffer {
  const file = readdirSync(`${TOP}build`).find((entry) => entry.startsWith('vakt_') && entry.endsWith(`_${name}.deb`));
  assert.ok(file !== undefined, `build/ has no package for ${name}: npm run package -- ${name}`);
  return readFileSync(`${TOP}build/${file}`);
}

/** Vakt installed on a board, and its hub on this machine. */
export class InstalledAgent {
  readonly bed: TestBed;
  readonly #board: Board;
  /** Events of the first `#read` messages, keyed by name and id. */
  readonly #events = new Map<string, Map<string, Envelope>>();
  #read = 0;

  private constructor(board: Board, bed: TestBed) {
    this.#board = board;
    this.bed = bed;
  }

  /** Installs the package and configures it with the module's key. Does not start the service. */
  static async install(board: Board, architecture: Architecture): Promise<InstalledAgent> {
    const agent = new InstalledAgent(board, await TestBed.open({ desired: DESIRED }));
    try {
      await board.copy(packageOf(architecture), '/root/vakt.deb');
      await board.must(['dpkg', '--install', '/root/vakt.deb']);
      await board.copy(LONGER_LIMITS, '/etc/systemd/system/vakt.service.d/board.conf');
      await board.must(['systemctl', 'daemon-reload']);
      await board.copy(agent.bed.hub.caPem, '/etc/vakt/ca.pem');
      await board.copy(`${agent.bed.key}\n`, '/etc/vakt/secrets/module.key', 0o600);
      await agent.configure({ kind: 'moduleKey', deviceId: DEVICE, moduleId: MODULE, keyFile: 'secrets/module.key' });
      return agent;
    } catch (error) {
      await agent.bed.close();
      throw error;
    }
  }

  /** Writes the local configuration. @param hub settings instead of those for the test bed's hub */
  async configure(identity: object, hub?: object): Promise<void> {
    const { hostName, port } = this.bed.hub;
    const testHub = { hostName, gatewayHostName: `${HUB_NAME}:${port}`, trustedCaFile: 'ca.pem', transport: 'mqtt' };
    const configuration = {
      hub: hub ?? testHub,
      identity,
      limits: NO_LIMITS,
      collectors: { loopbackConnections: true },
    };
    await this.#board.copy(JSON.stringify(configuration), '/etc/vakt/agent.json');
  }

  /** Starts or restarts the service and waits until it is ready. @returns the seconds since the start of its process */
  async start(): Promise<number> {
    await this.#board.must(['systemctl', 'restart', 'vakt']);
    const [began, ready] = ['ExecMainStartTimestampMonotonic', 'ActiveEnterTimestampMonotonic'];
    const shown = await this.#board.must(['systemctl', 'show', '-p', `${began},${ready}`, 'vakt']);
    const microseconds = (name: string) => Number(new RegExp(`^${name}=(\\d+)$`, 'm').exec(shown)?.[1]);
    return (microseconds(ready) - microseconds(began)) / 1e6;
  }

  async stop(): Promise<void> {
    await this.#board.must(['systemctl', 'stop', 'vakt']);
  }

  async pid(): Promise<string> {
    return (await this.#board.must(['systemctl', 'show', '-P', 'MainPID', 'vakt'])).trim();
  }

  /** Returns the status from the direct method. @throws MethodError while the agent is not connected */
  async status(): Promise<LocalStatus> {
    const { status, payload } = await this.bed.hub.invokeMethod(DEVICE, MODULE, 'getStatus', {}, seconds(60));
    assert.equal(status, 200, JSON.stringify(payload));
    return payload as LocalStatus;
  }

  /** Polls the status until it fulfils `predicate`. */
  async waitForStatus(
    condition: string | (() => string),
    predicate: (status: LocalStatus) => boolean,
    limit: Duration = WAIT,
  ): Promise<LocalStatus> {
    let last: LocalStatus | undefined;
    let failure: unknown;
    await until(
      () =>
        `${typeof condition === 'string' ? condition : condition()}; last status: ${JSON.stringify(last)} ${failure ?? ''}`,
      async () => {
        try {
          last = await this.status();
          failure = undefined;
          return predicate(last);
        } catch (error) {
          failure = error; // not connected
          return false;
        }
      },
      { limit, every: seconds(3) }, // an answer takes a tenth of that on the emulated CPU
    );
    return last as LocalStatus;
  }

  /** Distinct events at the hub: events in flight when the agent exits are sent again. */
  events(name: string): Envelope[] {
    const { messages } = this.bed.hub;
    for (; this.#read < messages.length; this.#read += 1) {
      for (const event of (JSON.parse(messages[this.#read]?.body ?? '') as { Events: Envelope[] }).Events) {
        const known = this.#events.get(event.Name) ?? new Map<string, Envelope>();
        this.#events.set(event.Name, known.set(event.Id, event));
      }
    }
    return [...(this.#events.get(name)?.values() ?? [])];
  }

  /** Payload elements of the events with this name. */
  elements(name: string): Payload[] {
    return this.events(name).flatMap(({ Payload }) => Payload);
  }

  /**
   * Waits until a condition about the hub is true.
   *
   * @param seen the current state for the error message, which also contains the agent's accounts
   */
  async until(condition: string, predicate: () => boolean, seen: () => unknown = () => ''): Promise<void> {
    try {
      const message = () => `${condition}; current state: ${JSON.stringify(seen())?.slice(0, 2_000)}`;
      await until(message, predicate, { limit: WAIT, every: seconds(0.2) });
    } catch (error) {
      const accounts = await this.status().then(
        ({ delivery, events }) => JSON.stringify({ delivery, events }),
        (failure: unknown) => `no accounts: ${failure}`,
      );
      throw new Error(`${(error as Error).message}; ${accounts}`);
    }
  }

  /** The last lines of the agent's log, except those about `status()`. */
  async log(): Promise<string> {
    const text = await this.#board.must(['journalctl', '-u', 'vakt', '-o', 'cat', '--no-pager', '-n', '400']);
    const lines = text.split('\n').filter((line) => !line.startsWith('Answered a direct method.'));
    return lines.slice(-40).join('\n');
  }
}
