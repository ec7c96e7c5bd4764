import type { Hit } from '../subject.ts';
import { cutEncoded } from './fit.ts';

/** Number of different names and values that are listed. */
const MAX_LISTED = 24;
/** In bytes of JSON. */
const LONGEST_COMMAND = 256;
const LONGEST_GROUP = 512;

const URL = /\b(?:https?|ftp|tftp):\/\/[^\s"'<>|;&)]{1,256}/i;

/**
 * The evidence of a correlation's events: the commands in order, one per line; the first URL in them; and the number of events
 * per address.
 *
 * @param shown redacts a command line
 */
export function sequenceDetails(
  { count, events = [], group = [] }: Hit,
  shown: (commandLine: string) => string,
): Readonly<Record<string, string>> {
  if (count === undefined) return {};
  const commands = new Set<string>();
  const addresses = new Map<string, number>();
  for (const { source, summary, count: times } of events) {
    if (summary === '') continue;
    if (source === 'process_creation') commands.add(shown(summary).replace(/\s+/g, ' '));
    else addresses.set(summary, (addresses.get(summary) ?? 0) + times);
  }
  const url = [...commands].map((command) => URL.exec(command)?.[0]).find((each) => each !== undefined);
  const lines = [...commands].slice(0, MAX_LISTED).map((command) => cutEncoded(command, LONGEST_COMMAND));
  const most = [...addresses].sort(([, a], [, b]) => b - a).slice(0, MAX_LISTED);
  const shared = group.map(({ name, value }) => `${name}=${value}`).join(';');
  return {
    CorrelatedEvents: String(count),
    ...(shared === '' ? {} : { CorrelatedBy: cutEncoded(shared, LONGEST_GROUP) }),
    ...(lines.length === 0 ? {} : { Commands: lines.join('\n') }),
    ...(url === undefined ? {} : { Url: url }),
    ...(most.length === 0 ? {} : { Addresses: most.map(([address, times]) => `${address} (${times})`).join(';') }),
  };
}
