import type { Payload } from '../../core/contract/event.ts';
import { isLoopback } from '../../core/contract/ip-network.ts';

/** What can be reached from outside. */
export interface Exposure {
  /** Number of ports, each counted once for TCP and once for UDP, whatever addresses and processes have it. */
  readonly openPorts: number;
  /** `22/tcp (sshd), 8000-8009/tcp (node)`, at most 1 KB; the most important ones first, as in ListeningPorts. */
  readonly ports: string;
}

/** A row of ListeningPorts, as far as it is assessed. */
interface ListeningRow {
  readonly Protocol: string;
  readonly LocalAddress?: string;
  readonly LocalPort: string;
  readonly ExtraDetails?: Readonly<Record<string, string>>;
}

type Range = readonly [first: number, last: number];

/** In bytes; everything in the text is ASCII. */
const LONGEST_TEXT = 1_024;
/** Reserved for the number of ports that are left out. */
const RESERVED = 20;
const LONGEST_NAME = 32;
/** More than fit into the text: the shortest has five characters. */
const MAX_ENTRIES = LONGEST_TEXT / 5;
/** Number of entries of each user that come first, so that one user cannot fill the string alone. */
const FIRST_OF_USER = 8;

/**
 * Everything but loopback addresses counts as reachable: link-local addresses can be reached from the same network, and
 * whether a packet filter protects a port is a question of its own.
 */
export function exposureOf(rows: readonly Payload[]): Exposure {
  const all = new OpenPorts();
  const first = new Map<string, Entry>();
  const rest = new Map<string, Entry>();
  const ofUser = new Map<string, number>();
  for (const row of rows as unknown as readonly ListeningRow[]) {
    const { Protocol, LocalAddress = '', LocalPort, ExtraDetails } = row;
    const [, low, high = low] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(LocalPort) ?? [];
    if (low === undefined || isLoopback(LocalAddress)) continue;
    const transport = Protocol.startsWith('udp') ? 'udp' : 'tcp';
    const range: Range = [Number(low), Number(high)];
    all.add(transport, range);
    const text = `${LocalPort}/${transport}${nameOf(ExtraDetails?.Executable)}`;
    if (first.has(text) || rest.has(text)) continue;
    const user = ExtraDetails?.UserId ?? '';
    const before = ofUser.get(user) ?? 0;
    ofUser.set(user, before + 1);
    if (before < FIRST_OF_USER) first.set(text, { transport, range });
    else if (rest.size < MAX_ENTRIES) rest.set(text, { transport, range });
  }
  return { openPorts: all.count(), ports: listed([...first, ...rest], all.count()) };
}

interface Entry {
  readonly transport: 'tcp' | 'udp';
  readonly range: Range;
}

/** As many entries as fit, and the number of ports that are left out. */
function listed(entries: readonly (readonly [string, Entry])[], openPorts: number): string {
  const named = new OpenPorts();
  let text = '';
  for (const [entry, { transport, range }] of entries) {
    if (text.length + entry.length > LONGEST_TEXT - RESERVED) break;
    named.add(transport, range);
    text += text === '' ? entry : `, ${entry}`;
  }
  const more = openPorts - named.count();
  return more === 0 ? text : `${text}, ${more} more`;
}

/** ` (sshd)`. Anyone can choose the name of a program: only characters that can't be mistaken for the text around it stay. */
function nameOf(executable: string | undefined): string {
  if (executable === undefined) return '';
  const path = executable.replace(/ \(deleted\)$/, '');
  const name = path.slice(path.lastIndexOf('/') + 1).slice(0, LONGEST_NAME);
  return name === '' ? '' : ` (${name.replace(/[^A-Za-z0-9._+@:-]/g, '_')})`;
}

/** Port ranges, which may overlap: a port can be open at several addresses. */
class OpenPorts {
  readonly #ranges: Readonly<Record<'tcp' | 'udp', Range[]>> = { tcp: [], udp: [] };

  add(transport: 'tcp' | 'udp', range: Range): void {
    this.#ranges[transport].push(range);
  }

  /** The number of different ports. */
  count(): number {
    let count = 0;
    for (const ranges of Object.values(this.#ranges)) {
      let counted = -1;
      for (const [first, last] of ranges.sort(([a], [b]) => a - b)) {
        count += Math.max(0, last - Math.max(first - 1, counted));
        counted = Math.max(counted, last);
      }
    }
    return count;
  }
}
