import { isPlainObject } from '../../core/base/values.ts';
import type { Dialect } from '../../core/twin/dialect.ts';
import { readTwin } from '../../core/twin/twin.ts';
import type { Finding, TwinCheck } from './protocol.ts';

type Section = Readonly<Record<string, unknown>>;

/**
 * Validates a desired section as the agent does, except for the limits of its local file, which the hub does not know.
 */
export function checkDesired(desired: Section, dialect: Dialect): TwinCheck {
  const reading = readTwin(dialect.documentIn(desired), dialect);
  const unknown = Object.entries(dialect.unknownNames(desired)).map(([name, message]) => ({ name, message }));
  const plain = (faults: readonly Finding[]) => faults.map(({ name, message }) => ({ name, message }));
  return reading.ok
    ? { faults: [], warnings: [...unknown, ...plain(reading.warnings)] }
    : { faults: plain(reading.faults), warnings: unknown };
}

/** The patch that turns `before` into `after` (RFC 7396): `null` removes. */
export function patchBetween(before: Section, after: Section): Section {
  const removed = Object.keys(before).filter((name) => !Object.hasOwn(after, name));
  const changes = Object.entries(after).flatMap(([name, value]): [string, unknown][] => {
    const old = Object.hasOwn(before, name) ? before[name] : undefined;
    if (JSON.stringify(old) === JSON.stringify(value)) return [];
    return [[name, isPlainObject(old) && isPlainObject(value) ? patchBetween(old, value) : value]];
  });
  return Object.fromEntries([...removed.map((name) => [name, null] as const), ...changes]);
}
