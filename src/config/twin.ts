import * as v from 'valibot';
import { days, parseDuration, seconds } from '../base/duration.ts';
import type { Collector } from '../contract/collector.ts';
import type { Priority } from '../contract/event.ts';
import type { Settings } from '../contract/settings.ts';
import type { ConfigurationFault } from '../contract/sources.ts';
import { type Limits, limited, NO_LIMITS } from './limits.ts';

/* The twin's desired configuration (contract §2): every property is declared once, here, and its check, its default,
 * the mirror in reported, the schema and the docs follow from that. */

/** A value as the twin holds it. */
export type WireValue = string | number | boolean | null;

/** One property of the desired configuration. */
export interface TwinProperty {
  readonly name: string;
  readonly description: string;
  /** What the wire value must be; its output is what the agent uses. */
  readonly schema: v.GenericSchema<unknown, unknown>;
  /** In force when the twin doesn't say; in its canonical spelling. `null`: unset, and absent in reported. */
  readonly fallback: WireValue;
}

const duration = v.pipe(
  v.string('must be an ISO 8601 duration such as "PT7M"'),
  v.maxLength(64, 'must be an ISO 8601 duration of at most 64 characters'),
  v.check((text) => parseDuration(text) !== undefined, 'must be an ISO 8601 duration such as "PT7M"'),
  v.transform((text) => parseDuration(text) ?? seconds(1)),
  v.check((span) => span >= seconds(1) && span <= days(365), 'must be from PT1S to P365D'),
);

const bytes = (least: number, most = Number.MAX_SAFE_INTEGER) => {
  const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  const message = `must be an integer ${range}`;
  return v.pipe(v.number(message), v.safeInteger(message), v.minValue(least, message), v.maxValue(most, message));
};

const CANONICAL: Readonly<Record<string, Priority>> = { high: 'High', low: 'Low', off: 'Off' };
const priority = v.pipe(
  v.string('must be "High", "Low" or "Off"'),
  v.check((text) => Object.hasOwn(CANONICAL, text.toLowerCase()), 'must be "High", "Low" or "Off"'),
  v.transform((text) => CANONICAL[text.toLowerCase()] ?? 'Low'),
);

const ascii = (most: number) =>
  v.pipe(
    v.string('must be a string'),
    v.maxLength(most, `must be at most ${most} characters`),
    v.regex(/^[\x20-\x7e]*$/, 'must be printable ASCII characters'),
  );

/** An ARM id is ASCII and shorter. It is sent with every message, whose size leaves this much for it (pipeline/). */
const resourceId = ascii(512);

/** Bounded, since reported holds each twice: as it was desired, and as an exception in force. */
const names = v.pipe(
  ascii(2048),
  v.transform((list) => [
    ...new Set(
      list
        .split(',')
        .map((name) => name.trim())
        .filter((name) => name !== ''),
    ),
  ]),
);

const ABSOLUTE = 'must be an absolute path without ".."';
const path = v.pipe(
  ascii(1024),
  v.check((text) => text.startsWith('/') && !text.split('/').includes('..'), ABSOLUTE),
);

const DIGEST = 'must be a SHA-256 digest of 64 hexadecimal digits';
const digest = v.pipe(v.string(DIGEST), v.regex(/^[0-9a-fA-F]{64}$/, DIGEST), v.toLowerCase());

const flag = v.boolean('must be true or false');

/** Every property the desired configuration may hold, in the order the docs list them. */
export function twinProperties(collectors: readonly Collector[]): readonly TwinProperty[] {
  const property = (
    name: string,
    description: string,
    schema: TwinProperty['schema'],
    fallback: WireValue,
  ): TwinProperty => ({ name, description, schema, fallback });
  return [
    property('highPriorityMessageFrequency', 'How often High events are sent.', duration, 'PT7M'),
    property('lowPriorityMessageFrequency', 'How often Low events are sent.', duration, 'PT5H'),
    property('snapshotFrequency', 'How often Periodic events are collected.', duration, 'PT13H'),
    property(
      'maxLocalCacheSizeInBytes',
      'Room on disk for events not yet sent, both queues together.',
      bytes(8192),
      2_560_000,
    ),
    property('maxMessageSizeInBytes', 'Largest message sent, properties included.', bytes(8192, 262_144), 204_800),
    ...collectors.map((c) =>
      property(`eventPriority${c.name}`, `How urgent ${c.name} is; Off switches it off.`, priority, c.priority),
    ),
    ...collectors
      .filter(isAggregated)
      .flatMap((c) => [
        property(
          `aggregationEnabled${c.name}`,
          `Whether occurrences of ${c.name} that say the same are counted, not listed.`,
          flag,
          true,
        ),
        property(
          `aggregationInterval${c.name}`,
          `How long occurrences of ${c.name} are counted before they are queued.`,
          duration,
          'PT1H',
        ),
      ]),
    property(
      'baselineCustomChecksEnabled',
      'Whether OSBaseline judges the rules of a file of your own, too.',
      flag,
      false,
    ),
    property(
      'baselineCustomChecksFilePath',
      "That file, on the device: of the default rules' format, root's, and for nobody else to write.",
      path,
      null,
    ),
    property('baselineCustomChecksFileHash', 'SHA-256 of the file, in hexadecimal.', digest, null),
    property(
      'baselineGroupsDisabled',
      'Categories of OSBaseline that are not judged, joined with ",". Exceptions are shown in the status.',
      names,
      '',
    ),
    property('baselineChecksDisabled', 'Ids of rules that are not judged, in the same way.', names, ''),
    property(
      'baselineRoles',
      'Roles that the device has, in the same way; rules that do not hold for one of them are skipped.',
      names,
      '',
    ),
    property('hubResourceId', "The hub's Azure resource id; sent as a property of every message.", resourceId, ''),
  ];
}

const isAggregated = (collector: Collector) => collector.category === 'Triggered' && collector.aggregate !== undefined;

/** What a desired configuration comes to. */
export type TwinReading =
  | {
      readonly ok: true;
      readonly settings: Settings;
      /** What reported says: every property in force, as desired spelt it, or in its canonical spelling. */
      readonly mirror: Readonly<Record<string, { readonly value: WireValue }>>;
      /** Obeyed, but hardly what was meant; and where a local limit holds instead. */
      readonly warnings: readonly Fault[];
      /** Of those, the local limits. */
      readonly limited: readonly Fault[];
      /** Names in it that this agent does not know. */
      readonly unknown: readonly string[];
      /** What each property comes to, to tell what has changed. */
      readonly values: ReadonlyMap<string, unknown>;
    }
  /** Not obeyed, as a whole. Every fault is listed. */
  | { readonly ok: false; readonly faults: readonly Fault[] };

export type Fault = Pick<ConfigurationFault, 'name' | 'type' | 'message'>;

/**
 * Reads the configuration object of the desired properties. Pure, bounded, never throws: it is hostile input.
 *
 * @param object `undefined` or `null` when the twin has none: all defaults
 * @param limits of the local file, which win
 */
export function readTwin(
  object: unknown,
  properties: readonly TwinProperty[],
  limits: Limits = NO_LIMITS,
): TwinReading {
  if (object !== undefined && object !== null && !isPlainObject(object)) {
    const fault: Fault = { name: '(configuration)', type: 'TypeMismatch', message: 'must be an object' };
    return { ok: false, faults: [fault] };
  }
  const desired = object ?? {};
  const values = new Map<string, unknown>();
  const mirror: Record<string, { value: WireValue }> = {};
  const faults: Fault[] = [];
  const limitedFaults: Fault[] = [];
  for (const { name, schema, fallback } of properties) {
    const member = Object.hasOwn(desired, name) ? desired[name] : undefined;
    const wire = readMember(member, fallback);
    const result = wire.ok ? v.safeParse(schema, wire.value) : undefined;
    if (wire.ok && wire.value === null) values.set(name, null);
    else if (result?.success) {
      const instead = limited(name, result.output, fallback, limits);
      values.set(name, instead?.value ?? result.output);
      mirror[name] = { value: instead?.wire ?? (wire as { value: WireValue }).value };
      if (instead !== undefined) limitedFaults.push({ name, type: 'Conflict', message: instead.message });
    } else {
      const message = result?.issues?.[0].message ?? 'must be an object with a "value"';
      faults.push({ name, type: 'TypeMismatch', message });
    }
  }
  if (faults.length > 0) return { ok: false, faults };
  const known = new Set(properties.map(({ name }) => name));
  const unknown = Object.keys(desired).filter((name) => !known.has(name));
  const settings = toSettings(values);
  const warnings = [...limitedFaults, ...doubts(settings)];
  return { ok: true, settings, mirror, warnings, limited: limitedFaults, unknown, values };
}

/** A member is absent, `null`, or `{"value": X}` with X not null; siblings of `value` are ignored. */
function readMember(member: unknown, fallback: WireValue): { ok: true; value: unknown } | { ok: false } {
  if (member === undefined || member === null) return { ok: true, value: fallback };
  if (!isPlainObject(member) || !Object.hasOwn(member, 'value')) return { ok: false };
  const { value } = member;
  return value === null || value === undefined ? { ok: false } : { ok: true, value };
}

export const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function toSettings(values: ReadonlyMap<string, unknown>): Settings {
  const priorities: Record<string, Priority> = {};
  const aggregation: Record<string, Settings['aggregation'][string]> = {};
  for (const [name, value] of values) {
    const event = /^(eventPriority|aggregationInterval)(.+)$/.exec(name);
    if (event === null) continue;
    const [, kind, eventName = ''] = event;
    if (kind === 'eventPriority') priorities[eventName] = value as Priority;
    else {
      const enabled = values.get(`aggregationEnabled${eventName}`) === true;
      aggregation[eventName] = { enabled, interval: value as Settings['snapshotFrequency'] };
    }
  }
  return {
    highPriorityMessageFrequency: values.get(
      'highPriorityMessageFrequency',
    ) as Settings['highPriorityMessageFrequency'],
    lowPriorityMessageFrequency: values.get('lowPriorityMessageFrequency') as Settings['lowPriorityMessageFrequency'],
    snapshotFrequency: values.get('snapshotFrequency') as Settings['snapshotFrequency'],
    maxLocalCacheSizeInBytes: values.get('maxLocalCacheSizeInBytes') as number,
    maxMessageSizeInBytes: values.get('maxMessageSizeInBytes') as number,
    hubResourceId: values.get('hubResourceId') as string,
    priorities,
    aggregation,
    baseline: baselineSettings(values),
  };
}

function baselineSettings(values: ReadonlyMap<string, unknown>): Settings['baseline'] {
  const path = values.get('baselineCustomChecksFilePath') as string | null;
  const hash = values.get('baselineCustomChecksFileHash') as string | null;
  return {
    groupsDisabled: values.get('baselineGroupsDisabled') as readonly string[],
    checksDisabled: values.get('baselineChecksDisabled') as readonly string[],
    roles: values.get('baselineRoles') as readonly string[],
    customChecksEnabled: values.get('baselineCustomChecksEnabled') as boolean,
    ...(path === null ? {} : { customChecksFilePath: path }),
    ...(hash === null ? {} : { customChecksFileHash: hash }),
  };
}

/** Combinations that are obeyed with a warning, since they are hardly what was meant (contract §2). */
function doubts(settings: Settings): Fault[] {
  const found: Fault[] = [];
  if (settings.maxMessageSizeInBytes % 4096 !== 0) {
    const message = 'is not a multiple of 4096, the unit in which the hub charges';
    found.push({ name: 'maxMessageSizeInBytes', type: 'NotOptimal', message });
  }
  if (settings.maxLocalCacheSizeInBytes < settings.maxMessageSizeInBytes) {
    const message = 'is smaller than maxMessageSizeInBytes, so that no message can be filled';
    found.push({ name: 'maxLocalCacheSizeInBytes', type: 'Conflict', message });
  }
  if (settings.highPriorityMessageFrequency > settings.lowPriorityMessageFrequency) {
    const message = 'is longer than lowPriorityMessageFrequency';
    found.push({ name: 'highPriorityMessageFrequency', type: 'Conflict', message });
  }
  const { customChecksEnabled, customChecksFilePath, customChecksFileHash } = settings.baseline;
  if (customChecksEnabled && (customChecksFilePath === undefined || customChecksFileHash === undefined)) {
    const message =
      'needs baselineCustomChecksFilePath and baselineCustomChecksFileHash; only default rules are judged';
    found.push({ name: 'baselineCustomChecksEnabled', type: 'Conflict', message });
  }
  return found;
}
