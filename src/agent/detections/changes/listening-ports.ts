import { isLoopback } from '../../../core/contract/ip-network.ts';
import { portClass } from '../../../core/contract/owner.ts';
import type { Fields } from '../subject.ts';
import { added, modified, removed } from './change.ts';
import type { ChangeKind } from './kind.ts';
import { allFields, omit } from './rows.ts';

/** Ports of one row at one address. */
interface Ports {
  readonly from: number;
  readonly to: number;
  readonly row: Fields;
}

/**
 * Compares ports, not rows: a row can be a range of ports, which grows and splits. A port that moves to another process of the
 * same program is not a change.
 */
export const listeningPortChanges: ChangeKind = {
  event: 'ListeningPorts',
  source: 'listening_port_change',

  read(row) {
    const { Executable, ...fields } = omit(allFields(row), ['Count', 'Pid']);
    if (rangeOf(fields) === undefined) return undefined;
    // The kernel's mark for a replaced file: the program of an updated service.
    return Executable === undefined ? fields : { ...fields, Executable: Executable.replace(/ \(deleted\)$/, '') };
  },

  classOf: (row) => portClass(isLoopback(row.LocalAddress ?? ''), Number(row.UserId)),

  keyOf: (row) => `${placeOf(row)} ${row.LocalPort} ${row.UserId ?? ''} ${row.Executable ?? ''}`,

  differences({ added: after, removed: before }, base, rows) {
    // Equal rows, which are nearly all, need no comparison of their ports.
    if (after.length === 0 && before.length === 0) return [];
    const beforeByPlace = byPlace(base.rows.values());
    const afterByPlace = byPlace(rows.values());
    const open = byPlace(after);
    const closed = byPlace(before);
    const opened = [...open].flatMap(([place, ports]) => uncovered(ports, beforeByPlace.get(place) ?? []));
    const lost = [...closed].flatMap(([place, ports]) => uncovered(ports, afterByPlace.get(place) ?? []));
    const taken = [...open].flatMap(([place, ports]) => takenOver(ports, beforeByPlace.get(place) ?? []));
    const { moves, stays } = moved(opened, lost);
    return [...moves, ...stays.opened.map(added), ...stays.lost.map(removed), ...taken];
  },
};

/** Where a port is open: protocol, address, interface of a link-local address. */
const placeOf = ({ Protocol, LocalAddress = '', Zone = '' }: Fields) => `${Protocol} ${LocalAddress} ${Zone}`;

function rangeOf({ LocalPort }: Fields): { from: number; to: number } | undefined {
  const [, from, to] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(LocalPort ?? '') ?? [];
  return from === undefined ? undefined : { from: Number(from), to: Number(to ?? from) };
}

/** Sorted by their first port. */
function byPlace(rows: Iterable<Fields>): Map<string, Ports[]> {
  const places = new Map<string, Ports[]>();
  for (const row of rows) {
    const range = rangeOf(row);
    if (range === undefined) continue;
    const place = placeOf(row);
    const ports = places.get(place);
    if (ports === undefined) places.set(place, [{ row, ...range }]);
    else ports.push({ row, ...range });
  }
  for (const ports of places.values()) ports.sort((a, b) => a.from - b.from);
  return places;
}

const withPorts = (row: Fields, from: number, to: number): Fields => ({
  ...row,
  LocalPort: from === to ? String(from) : `${from}-${to}`,
});

/** The ports that are not in `covering`, as rows. Both lists are sorted. */
function uncovered(ports: readonly Ports[], covering: readonly Ports[]): Fields[] {
  const rows: Fields[] = [];
  // A port with two rows (SO_REUSEPORT) is reported once.
  let lastPort = -1;
  let start = 0;
  for (const { from, to, row } of ports) {
    let next = Math.max(from, lastPort + 1);
    while (start < covering.length && (covering[start]?.to ?? 0) < from) start += 1;
    for (let index = start; index < covering.length && next <= to; index += 1) {
      const other = covering[index];
      if (other === undefined || other.from > to) break;
      if (other.from > next) rows.push(withPorts(row, next, other.from - 1));
      next = Math.max(next, other.to + 1);
    }
    if (next <= to) rows.push(withPorts(row, next, to));
    lastPort = Math.max(lastPort, to);
  }
  return rows;
}

/** Ports that only another program had open before. Ports of unknown programs are skipped. */
function takenOver(ports: readonly Ports[], before: readonly Ports[]): Fields[] {
  return ports.flatMap(({ from, to, row }) => {
    const same = before.filter((other) => other.from <= to && other.to >= from);
    const programs = same.map((other) => other.row.Executable);
    const isKnown = row.Executable !== undefined && !programs.includes(undefined);
    const [first] = same;
    if (!isKnown || first === undefined || programs.includes(row.Executable)) return [];
    const [low, high] = [Math.max(from, first.from), Math.min(to, first.to)];
    return [modified(withPorts(first.row, low, high), withPorts(row, low, high))];
  });
}

const isWildcard = ({ LocalAddress = '' }: Fields) => ['', '0.0.0.0', '::'].includes(LocalAddress);

/**
 * A program whose ports moved to another address of the machine, for example after a new DHCP lease, has no new port. The port
 * is new if it was not reachable from outside before, or not at all addresses.
 */
function moved(opened: readonly Fields[], lost: readonly Fields[]) {
  const from = new Map<string, Fields>();
  const serviceOf = ({ Protocol, LocalPort, Executable }: Fields) => `${Protocol} ${LocalPort} ${Executable}`;
  for (const row of lost)
    if (row.Executable !== undefined && !isLoopback(row.LocalAddress ?? '')) from.set(serviceOf(row), row);
  const moves: Fields[] = [];
  const used = new Set<Fields>();
  const staysOpened = opened.filter((row) => {
    const before = from.get(serviceOf(row));
    if (before === undefined || used.has(before) || isWildcard(row)) return true;
    used.add(before);
    moves.push(modified(before, row));
    return false;
  });
  return { moves, stays: { opened: staysOpened, lost: lost.filter((row) => !used.has(row)) } };
}
