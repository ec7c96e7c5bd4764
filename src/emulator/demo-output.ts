import { styleText } from 'node:util';
import type { Clock } from '../core/base/clock.ts';
import { counted, printable } from '../core/base/text.ts';
import { isPlainObject } from '../core/base/values.ts';
import type { World } from '../core/command-line/command.ts';
import { describeEvent, differences } from '../core/command-line/describe.ts';
import type { Envelope } from '../core/contract/event.ts';
import { PUBLISHED_OBJECT } from '../core/twin/published-object.ts';
import type { HubEmulator } from './hub.ts';

/** Prints a line of the demo. @param isAlert whether a terminal shows it in bold red */
export type Say = (who: string, line: string, isAlert?: boolean) => void;

/** More changed properties of one section are shown as their number. */
const MOST_CHANGES = 3;
const UP_AND_ERASE = '\x1b[A\x1b[2K';

/**
 * Prefixes lines with the time since the call.
 *
 * @param footer after each line, the last line of a terminal that is wide enough for it; nothing if it is empty
 */
export function sayTo(
  { stdout, terminal, columns = 0, environment }: World,
  clock: Pick<Clock, 'monotonic'>,
  footer: () => string,
): Say {
  const began = clock.monotonic();
  // Node's own check of standard output, since 20.18, would come to another result in a test.
  const hasColour = terminal && !environment.NO_COLOR;
  let hadFooter = false;
  return (who, line, isAlert = false) => {
    const at = ((clock.monotonic() - began) / 1_000).toFixed(1).padStart(5);
    const text = `${at} s  ${who.padEnd(9)} ${line}`;
    const styled = isAlert && hasColour ? styleText(['bold', 'red'], text, { validateStream: false }) : text;
    const last = footer();
    const hasFooter = terminal && last !== '' && last.length < columns;
    stdout(`${hadFooter ? UP_AND_ERASE : ''}${styled}${hasFooter ? `\n${last}` : ''}`);
    hadFooter = hasFooter;
  };
}

/**
 * Shows the messages and reported properties that the hub receives. @returns the number of events of each name so far
 */
export function showArrivals(hub: HubEmulator, say: Say): ReadonlyMap<string, number> {
  const seen = new Map<string, number>();
  hub.on('message', ({ body, sizeBytes, applicationProperties }) => {
    const { Events: events } = JSON.parse(body) as { Events: Envelope[] };
    const content = `${counted(events.length, 'event', 'events')}, ${sizeBytes} bytes`;
    say('hub', `received a ${applicationProperties.MessagePriority} message, ${content}`);
    for (const event of events) {
      seen.set(event.Name, (seen.get(event.Name) ?? 0) + 1);
      for (const line of describeEvent(event)) say('', line, event.Name === 'SecurityAlert');
    }
  });
  let before: Record<string, unknown> | undefined;
  hub.on('reported', ({ reported }) => {
    const { securityAgent: status } = reported;
    if (before === undefined && isPlainObject(status)) say('reported', printable(firstReport(status)));
    else for (const line of changes(before ?? {}, reported)) say('reported', printable(line));
    before = structuredClone(reported);
  });
  return seen;
}

/** What the agent sees, and what not. */
function firstReport({ state, collectors }: Record<string, unknown>): string {
  const all = Object.entries(isPlainObject(collectors) ? collectors : {}).filter(
    (entry): entry is [string, Record<string, unknown>] => isPlainObject(entry[1]),
  );
  const namesOf = (wanted: string) => all.filter(([, collector]) => collector.state === wanted).map(([name]) => name);
  const withState = (wanted: string) => {
    const names = namesOf(wanted);
    return names.length === 0 ? '' : `; ${wanted}: ${names.join(', ')}`;
  };
  const source = all.find(([name]) => name === 'ProcessCreate')?.[1].source;
  const isLimited = state === 'degraded' && process.getuid?.() !== 0;
  return [
    `The agent is ${isLimited ? 'limited (not root)' : state}: `,
    counted(namesOf('on').length, 'collector on', 'collectors on'),
    source === undefined ? '' : `, program starts from ${source}`,
    ...['degraded', 'unavailable'].map(withState),
  ].join('');
}

/** Changes worth showing: without most counters. A section with many changes is one line. */
function changes(before: Record<string, unknown>, after: Record<string, unknown>): string[] {
  const sections = new Map<string, string[]>();
  for (const line of differences(before, after)) {
    if (/lastRunAt|lastSentAt|\.delivery\.|\.detections\.\S+ = 0$|\$version|\$metadata/.test(line)) continue;
    const section = line.startsWith(PUBLISHED_OBJECT) ? PUBLISHED_OBJECT : (/^[^.]*\.\w+/.exec(line)?.[0] ?? line);
    sections.set(section, [...(sections.get(section) ?? []), line]);
  }
  return [...sections].flatMap(([section, lines]) =>
    lines.length > MOST_CHANGES ? [`${section}: ${lines.length} properties changed`] : lines,
  );
}
