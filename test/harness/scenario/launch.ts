import { existsSync } from 'node:fs';
import type { Launch } from '../../integration/test-bed.ts';
import type { NumberedEvents } from './numbered-events.ts';

const OBSERVER = new URL('./observer.js', import.meta.url).pathname;
const SETPRIV = '/usr/bin/setpriv';
const IS_ROOT = process.getuid?.() === 0;
/** Root has access to the kernel's own audit, which the agent would prefer to auditd's log. */
const WITHOUT_CAPABILITIES = IS_ROOT ? [SETPRIV, '--bounding-set=-all', '--inh-caps=-all'] : [];

/** The reason why an agent can't be started without access to the kernel's audit. */
export const missingForLog = (): string | undefined =>
  IS_ROOT && !existsSync(SETPRIV) ? `this is root, and there is no ${SETPRIV} to drop its capabilities` : undefined;

/** The reason why an agent can't be started with custom rules. */
export const missingForOwnRules = (): string | undefined =>
  IS_ROOT ? undefined : "own rules must belong to root, and this isn't root";

/** One TCP connection that the agent attempted. */
export interface Attempt {
  readonly address: string;
  readonly port: number;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** Events that are disabled, so that an agent sends only the counted ones. */
export const OFF = [
  ...['ProcessTerminate', 'ConnectionCreate', 'ListeningPorts', 'LocalUsers', 'FirewallConfiguration'],
  ...['SystemInformation', 'ConnectedHardware', 'Diagnostic', 'DroppedEventsStatistics', 'MessageStatistics'],
];

/** Desired properties that give the events a priority. */
export const priorityOf = (events: readonly string[], value: string): object =>
  Object.fromEntries(events.map((event) => [`eventPriority${event}`, { value }]));

/** Starts an agent that reads numbered events: from a log without capabilities, otherwise from the kernel's audit. */
export const reading = (events: NumberedEvents, onAttempt?: (attempt: Attempt) => void): Launch => ({
  through: events.isComplete ? WITHOUT_CAPABILITIES : [],
  options: ['--import', OBSERVER],
  onLine(line) {
    const observed = JSON.parse(line) as Attempt | { pid: number; argv: string[] };
    if ('argv' in observed) events.ran?.(observed.pid, observed.argv);
    else onAttempt?.(observed);
  },
});
