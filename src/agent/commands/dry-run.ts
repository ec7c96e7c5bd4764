import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../core/base/clock.ts';
import { askControlSocket, isNoAgentListening } from '../../core/base/control-socket.ts';
import { seconds } from '../../core/base/duration.ts';
import { AgentError } from '../../core/base/errors.ts';
import { readPlainFile } from '../../core/base/plain-file.ts';
import type { Service } from '../../core/base/service.ts';
import { printable, printableJson } from '../../core/base/text.ts';
import type { World } from '../../core/command-line/command.ts';
import { describeEvent } from '../../core/command-line/describe.ts';
import type { Envelope } from '../../core/contract/event.ts';
import type { Answer, HubClient, HubSignal, HubStatus, TwinDocument } from '../../core/contract/hub.ts';
import { type Message, propertiesOf, sizeOf } from '../../core/contract/message.ts';
import type { SettingId } from '../../core/contract/settings.ts';
import type { Dialect } from '../../core/twin/dialect.ts';
import { twinDialect } from '../../core/twin/published-object.ts';
import { readTwin } from '../../core/twin/twin.ts';
import { collectors } from '../collectors/index.ts';
import { LAST_GOOD_FILE, readLastGood } from '../config/last-good.ts';
import { type LocalSettings, readLocalConfiguration } from '../config/local.ts';

/** Short, so that messages appear soon: the defaults send every 7 minutes and 5 hours, and count for an hour. */
const HIGH_FREQUENCY = 'PT3S';
const LOW_FREQUENCY = 'PT5S';
const INTERVAL = 'PT5S';

/** A run of the agent without a hub. */
export interface DryRun {
  readonly settings: LocalSettings;
  /** About names in the local file that are not settings. */
  readonly warnings: readonly string[];
  readonly hub: DryHub;
  /** Removes the state directory of the run. */
  remove(): void;
}

/**
 * Prepares a run that sends nothing and does not affect an installed agent: with state directory and control socket in
 * a temporary folder, and with the installed agent's last good configuration.
 *
 * @throws {AgentError} as readLocalConfiguration does, except for a missing identity
 */
export async function prepareDryRun(file: string | undefined, world: World): Promise<DryRun> {
  const { settings: installed, warnings } = readLocalConfiguration(file, world.environment, { identity: 'optional' });
  const runs = await mayRun(installed, world.signal);
  const folder = mkdtempSync(join(tmpdir(), 'vakt-dry-run-'));
  const dialect = twinDialect(installed.twinObjectName);
  const asked = new Map([...quick(dialect), ...(runs ? triggeredOff() : [])]);
  const configuration = { ...lastKnown(installed, dialect), ...dialect.write(asked) };
  // In a file, so that it is in force from the start: sources of events that are off are never opened.
  writeFileSync(join(folder, LAST_GOOD_FILE), JSON.stringify({ configuration }), { mode: 0o600 });
  const say = (line: string) => world.stderr(printable(line));
  say(
    `Nothing is sent. High messages are printed every ${secondsIn(HIGH_FREQUENCY)} s and Low messages every ` +
      `${secondsIn(LOW_FREQUENCY)} s, whatever the module twin says.`,
  );
  say(`State is kept in ${folder}, and removed at the end. Press Ctrl-C to stop the dry run.`);
  if (runs) say('An agent is running and uses the kernel\'s audit. For Triggered events, use "vakt collect EVENT".');
  const agentId = installed.agentId ?? keptId(installed);
  return {
    warnings,
    settings: {
      ...installed,
      ...(agentId === undefined ? {} : { agentId }),
      stateDirectory: folder,
      controlSocket: join(folder, 'control.sock'),
      strictStart: false,
      detections: { ...installed.detections, enabled: installed.detections.enabled && !runs },
      limits: withoutFloors(installed.limits, runs),
    },
    hub: new DryHub(dialect.sectionWith(configuration), world),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/**
 * Printing costs nothing. While an agent is running, `alwaysOn` is dropped, and there are no detections, which see events that
 * are off: only one process can use the kernel's audit.
 */
const withoutFloors = (limits: LocalSettings['limits'], runs: boolean): LocalSettings['limits'] => ({
  ...limits,
  shortestMessageFrequency: seconds(1),
  shortestSnapshotFrequency: seconds(1),
  messageUnitsPerDay: 0,
  ...(runs ? { alwaysOn: [] } : {}),
});

/** Whether an agent may be running. Two agents can't share audit: the one that exits would remove the other's rules. */
async function mayRun({ controlSocket }: LocalSettings, signal: AbortSignal): Promise<boolean> {
  try {
    await askControlSocket(controlSocket, '/status', { signal });
    return true;
  } catch (error) {
    signal.throwIfAborted();
    return !isNoAgentListening(error);
  }
}

const MAX_ID_BYTES = 1_024;

/** An installed agent's last good configuration, if readable and valid. */
function lastKnown({ stateDirectory }: LocalSettings, dialect: Dialect): object {
  try {
    const { configuration } = readLastGood(stateDirectory) as { configuration?: object };
    return readTwin(configuration, dialect).ok ? (configuration ?? {}) : {};
  } catch {
    return {};
  }
}

function keptId({ stateDirectory }: LocalSettings): string | undefined {
  try {
    return /^[0-9a-f-]{36}$/i.exec(readPlainFile(join(stateDirectory, 'agent-id'), MAX_ID_BYTES).trim())?.[0];
  } catch {
    return undefined;
  }
}

const quick = ({ properties }: Dialect): [SettingId, string][] => [
  ['highPriorityMessageFrequency', HIGH_FREQUENCY],
  ['lowPriorityMessageFrequency', LOW_FREQUENCY],
  ...properties.flatMap(({ id, key }): [SettingId, string][] =>
    key === 'aggregationInterval' ? [[id, INTERVAL]] : [],
  ),
];

const triggeredOff = (): [SettingId, string][] =>
  collectors
    .filter(({ category, type }) => category === 'Triggered' && type === 'Security')
    .map(({ name }) => [`priorities.${name}`, 'Off']);

const secondsIn = (duration: string) => duration.slice('PT'.length, -1);

/** How long a message waits for the one before it to be read. */
const READ_WITHIN = seconds(30);

/**
 * Accepts and prints every message while standard output is read. Its twin has the given desired properties; reported properties
 * are discarded.
 */
export class DryHub implements HubClient, Service {
  readonly name = 'hub';
  readonly #desired: object;
  readonly #world: World;
  readonly #clock: Pick<Clock, 'within'>;
  readonly #listeners: (() => void)[] = [];
  #state: HubStatus['state'] = 'connecting';
  /** Resolves when what was printed is read, or at the end of the run. */
  #read: Promise<unknown> = Promise.resolve();

  constructor(desired: object, world: World, clock: Pick<Clock, 'within'> = systemClock) {
    this.#desired = desired;
    this.#world = world;
    this.#clock = clock;
  }

  async start(): Promise<void> {
    this.#state = 'connected';
    for (const listener of this.#listeners) listener();
  }

  async stop(): Promise<void> {
    this.#state = 'stopped';
  }

  async send(message: Message): Promise<Answer<void>> {
    try {
      await this.#clock.within(READ_WITHIN, 'reading the message before', this.#read);
    } catch (cause) {
      this.#state = 'connecting';
      void this.#read.then(() => this.start());
      const remedy = 'Read on, or end the dry run.';
      const error = new AgentError('HUB_SILENT', 'standard output is not being read', remedy, { cause });
      return { status: 'retry', retryCause: 'local', error }; // more waits in the queue, which is limited
    }
    const { stdout, terminal } = this.#world;
    if (terminal) for (const line of readable(message)) stdout(line);
    else stdout(printableJson(asJson(message)));
    this.#read = this.#untilRead();
    return { status: 'accepted', value: undefined };
  }

  async #untilRead(): Promise<void> {
    const { written, signal } = this.#world;
    if (signal.aborted) return;
    const waiting = new AbortController();
    const ended = once(signal, 'abort', { signal: waiting.signal });
    await Promise.race([written?.(), ended]).finally(() => waiting.abort());
  }

  async readTwin(): Promise<Answer<TwinDocument>> {
    return { status: 'accepted', value: { desired: { ...this.#desired, $version: 1 }, reported: { $version: 1 } } };
  }

  async report(): Promise<Answer<number | undefined>> {
    return { status: 'accepted', value: undefined };
  }

  status(): HubStatus {
    return { state: this.#state, credential: { kind: 'none' } };
  }

  on(event: HubSignal, listener: () => void): void {
    if (event === 'connected') this.#listeners.push(listener);
  }
}

function readable(message: Message): string[] {
  const { Events: events } = JSON.parse(message.body) as { Events: Envelope[] };
  const head = `${message.priority} message, ${message.marking}, ${events.length} events, ${sizeOf(message)} bytes`;
  return [head, ...events.flatMap(describeEvent).map((line) => `  ${line}`), ''];
}

const asJson = (message: Message): string => {
  const { system, application } = propertiesOf(message);
  return JSON.stringify({ system, application, sizeBytes: sizeOf(message), body: JSON.parse(message.body) });
};
