import { readdirSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { type Duration, days, formatDuration, seconds } from '../base/duration.ts';
import { AgentError } from '../base/errors.ts';
import { nearestName } from '../base/nearest-name.ts';
import type { Collector } from '../contract/collector.ts';
import { durationSchema, type Spelling } from '../contract/setting-kinds.ts';
import type { NameOfSetting, SettingRow, Settings } from '../contract/settings.ts';

/* The local file's limits for what the module twin may set (contract §2). */

const span = (description: string) => durationSchema('PT1S', 'P365D', 'PT10S', description);

const eventNames = (description: string) =>
  v.pipe(
    v.string('must be a string: names of events, joined with ","'),
    v.maxLength(2048),
    v.description(description),
    v.transform((list) =>
      list
        .split(',')
        .map((name) => name.trim())
        .filter((name) => name !== ''),
    ),
  );

const count = (least: number, description: string) => {
  const message = `must be an integer of at least ${least}`;
  return v.pipe(v.number(message), v.safeInteger(message), v.minValue(least, message), v.description(description));
};

const SMALLEST_CACHE = 8192;

/** `limits` of the local file. */
export const LocalLimits = v.pipe(
  v.strictObject({
    shortestMessageFrequency: v.optional(
      span('A shorter message frequency or aggregation interval in the module twin is raised to this one.'),
      'PT10S',
    ),
    shortestSnapshotFrequency: v.optional(
      span('A shorter snapshot frequency in the module twin is raised to this one.'),
      'PT5M',
    ),
    longestMessageFrequency: v.optional(
      span(
        'A longer message frequency in the module twin is applied, and the agent is degraded; so it is with a longer aggregation interval or snapshot frequency of an event that mayBeOff does not list.',
      ),
      'P1D',
    ),
    alwaysOn: v.optional(
      eventNames('Events that the module twin cannot switch off, joined with ","; they keep their default priority.'),
      '',
    ),
    mayBeOff: v.optional(
      eventNames(
        'Events that the module twin may switch off without the agent being degraded, joined with ","; all but ProcessCreate, ConnectionCreate, Login and SecurityAlert when absent.',
      ),
    ),
    largestCacheInBytes: v.optional(
      count(
        SMALLEST_CACHE,
        "A larger cache size in the module twin is lowered to this; when absent, a tenth of what is free on the state directory's file system at the start, at most 64 MiB.",
      ),
    ),
    messageUnitsPerDay: v.optional(
      count(
        0,
        'Billed units of 4 KB that messages may take in a UTC day; a quarter is available when the day begins, the rest is added ' +
          'evenly. Low messages may use 80 %, High messages 90 %; a tenth is reserved for alerts. 0: no limit.',
      ),
      2000,
    ),
  }),
  v.check(
    ({ shortestMessageFrequency, longestMessageFrequency }) => shortestMessageFrequency <= longestMessageFrequency,
    'has a shortestMessageFrequency that is longer than its longestMessageFrequency',
  ),
);
export type LocalLimits = v.InferOutput<typeof LocalLimits>;

/** The limits in force. */
export interface Limits {
  readonly shortestMessageFrequency: Duration;
  readonly shortestSnapshotFrequency: Duration;
  readonly longestMessageFrequency: Duration;
  readonly alwaysOn: ReadonlySet<string>;
  readonly mayBeOff: Pick<ReadonlySet<string>, 'has'>;
  readonly largestCacheInBytes: number;
  /** Whether that is the default, since the local file does not say. */
  readonly isCacheDefault?: boolean;
}

/** Nothing is limited beyond the ranges of the settings. */
export const NO_LIMITS: Limits = {
  shortestMessageFrequency: seconds(1),
  shortestSnapshotFrequency: seconds(1),
  longestMessageFrequency: days(365),
  alwaysOn: new Set(),
  mayBeOff: { has: () => true },
  largestCacheInBytes: Number.MAX_SAFE_INTEGER,
};

/** Without these events an attack leaves no trace, so that the local file has to permit switching them off. */
const NEVER_SILENTLY_OFF = ['ProcessCreate', 'ConnectionCreate', 'Login', 'SecurityAlert'];

/**
 * @param largestCache in bytes; called when the local file does not set it
 * @throws {AgentError} CONFIG_INVALID for a name that is not an event's
 */
export function limitsInForce(
  local: LocalLimits,
  collectors: readonly Pick<Collector, 'name'>[],
  largestCache: () => number,
): Limits {
  const events = collectors.map(({ name }) => name);
  const { alwaysOn, mayBeOff = events.filter((name) => !NEVER_SILENTLY_OFF.includes(name)) } = local;
  const faults = [
    ...alwaysOn.flatMap((name) => unknownEvent('limits.alwaysOn', name, events)),
    ...mayBeOff.flatMap((name) => unknownEvent('limits.mayBeOff', name, events)),
  ];
  if (faults.length > 0) {
    const remedy = 'Correct the local configuration; "vakt events" lists the names.';
    throw new AgentError('CONFIG_INVALID', faults.join('; '), remedy);
  }
  return {
    ...local,
    alwaysOn: new Set(alwaysOn),
    mayBeOff: new Set(mayBeOff),
    largestCacheInBytes: local.largestCacheInBytes ?? largestCache(),
    isCacheDefault: local.largestCacheInBytes === undefined,
  };
}

function unknownEvent(setting: string, name: string, events: readonly string[]): string[] {
  if (events.includes(name)) return [];
  const nearest = nearestName(name, events);
  return [
    `${setting} names ${name}, which is not an event${nearest === undefined ? '' : `; did you mean "${nearest}"?`}`,
  ];
}

/** In bytes; however much space is free. */
export const LARGEST_DEFAULT_CACHE = 64 * 1024 * 1024;

/**
 * The default of `largestCacheInBytes`: a tenth of the free space, at most 64 MiB. Space that the queues use already counts
 * as free and is never above the ceiling; otherwise a restart on a full disk would drop queued events.
 *
 * @param directory an existing directory on the file system of the state directory
 * @param queues the folder of the queues
 */
export function largestCache(
  directory: string,
  queues: string,
  free: (directory: string) => { readonly bavail: number; readonly bsize: number } = statfsSync,
): number {
  try {
    const { bavail, bsize } = free(directory);
    const held = bytesBelow(queues);
    const tenth = Math.floor((bavail * bsize + held) / 10);
    return Math.max(SMALLEST_CACHE, Math.min(LARGEST_DEFAULT_CACHE, Math.max(tenth, held)));
  } catch {
    return LARGEST_DEFAULT_CACHE;
  }
}

function bytesBelow(folder: string): number {
  try {
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    const sizes = names.map((name) => statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0);
    return sizes.reduce((all, size) => all + size, 0);
  } catch {
    return 0; // not made yet
  }
}

/** The value in force instead of the one that the module twin sets. */
export interface Limited {
  readonly value: unknown;
  /** In the canonical spelling. */
  readonly spelling: Spelling;
  readonly message: string;
}

/** @returns `undefined` when the value is within the limits */
export function limited(row: SettingRow, value: unknown, limits: Limits): Limited | undefined {
  const { floor, ceiling, alwaysOn, kind } = row;
  const instead = (limit: keyof Limits, allowed: unknown): Limited => {
    const spelling = kind.spell(allowed);
    const because =
      limit === 'largestCacheInBytes' && limits.isCacheDefault === true
        ? 'the default of limits.largestCacheInBytes, a tenth of the free space and at most 64 MiB; set it to allow more'
        : named(limit);
    return { value: allowed, spelling, message: `is ${spelling}, not ${kind.spell(value)}: ${because}` };
  };
  if (floor !== undefined && Number(value) < limits[floor]) return instead(floor, limits[floor]);
  if (ceiling !== undefined && Number(value) > limits[ceiling]) return instead(ceiling, limits[ceiling]);
  const isOff = value === 'Off' || value === false;
  if (alwaysOn !== undefined && isOff && limits.alwaysOn.has(alwaysOn)) return instead('alwaysOn', row.fallback);
  return undefined;
}

const named = (limit: keyof Limits) => `limits.${limit} of the local configuration`;

/** Shown by `vakt check`. */
export const describeLimits = (limits: Limits, messageUnitsPerDay: number): string =>
  [
    `messages and aggregation intervals every ${formatDuration(limits.shortestMessageFrequency)} or more`,
    `snapshots every ${formatDuration(limits.shortestSnapshotFrequency)} or more`,
    `cache up to ${limits.largestCacheInBytes} bytes`,
    messageUnitsPerDay === 0 ? 'no daily budget of message units' : `${messageUnitsPerDay} message units a day`,
    limits.alwaysOn.size === 0 ? 'no event is always on' : `always on: ${[...limits.alwaysOn].join(', ')}`,
  ].join('; ');

/** What a configuration hides from those who rely on the events, see `blindSpots`. */
export interface BlindSpots {
  /** By event, or `detections`: the property that switches it off. */
  readonly switchedOff: Readonly<Record<string, string>>;
  /** Why the agent is degraded, keyed by property name. */
  readonly degrading: Readonly<Record<string, string>>;
  /** Why events are late although the local limits allow it, keyed by property name. */
  readonly late: Readonly<Record<string, string>>;
}

/**
 * The events that a configuration switches off, or delays beyond the local limits. What it makes of detection rules is known
 * only with the rules, see status/observe.ts.
 */
export function blindSpots(
  settings: Settings,
  { mayBeOff, longestMessageFrequency: longest }: Limits,
  collectors: readonly Pick<Collector, 'name' | 'category' | 'type'>[],
  nameOf: NameOfSetting,
): BlindSpots {
  const switchedOff: Record<string, string> = {};
  const degrading: Record<string, string> = {};
  const late: Record<string, string> = {};
  const tooLong = (span: Duration) =>
    `is ${formatDuration(span)}, longer than ${named('longestMessageFrequency')}, ${formatDuration(longest)}`;
  for (const setting of ['highPriorityMessageFrequency', 'lowPriorityMessageFrequency'] as const) {
    if (settings[setting] > longest) degrading[nameOf(setting)] = tooLong(settings[setting]);
  }
  if (!settings.detectionsEnabled) {
    const property = nameOf('detectionsEnabled');
    switchedOff.detections = `${property} is false`;
    if (!mayBeOff.has('SecurityAlert')) {
      degrading[property] = `is false, and ${named('mayBeOff')} does not list SecurityAlert`;
    }
  } else {
    const reasons = mayBeOff.has('SecurityAlert') ? late : degrading;
    if (settings.priorities.SecurityAlert === 'Low') {
      const span = formatDuration(settings.lowPriorityMessageFrequency);
      reasons[nameOf('priorities.SecurityAlert')] = `is Low, so that alerts may wait ${span}`;
    }
    if (settings.detectionsMinimumLevel === 'critical')
      reasons[nameOf('detectionsMinimumLevel')] = 'is critical: rules of level high make no alerts';
  }
  for (const { name, category, type } of collectors) {
    const reasons = mayBeOff.has(name) ? late : degrading;
    if ((settings.priorities[name] ?? 'Off') === 'Off') {
      const property = nameOf(`priorities.${name}`);
      switchedOff[name] = `${property} is Off`;
      if (!mayBeOff.has(name)) degrading[property] = `is Off, and ${named('mayBeOff')} does not list ${name}`;
      continue;
    }
    const interval = settings.aggregationInterval[name] ?? longest;
    if (settings.aggregationEnabled[name] === true && interval > longest) {
      reasons[nameOf(`aggregationInterval.${name}`)] = tooLong(interval);
    }
    const isSnapshot = category === 'Periodic' && type === 'Security';
    if (isSnapshot && settings.snapshotFrequency > longest) {
      reasons[nameOf('snapshotFrequency')] = tooLong(settings.snapshotFrequency);
    }
  }
  return { switchedOff, degrading, late };
}
