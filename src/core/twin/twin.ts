import * as v from 'valibot';
import { isBroad, type Spelling } from '../contract/setting-kinds.ts';
import {
  type NameOfSetting,
  type SettingId,
  type SettingRow,
  type Settings,
  settingsOf,
} from '../contract/settings.ts';
import type { ConfigurationFault, SettingFault } from '../contract/streams.ts';
import { type Dialect, namesOf, type Stated } from './dialect.ts';
import { type Limits, limited, NO_LIMITS } from './limits.ts';
import { LARGEST_MIRROR, sizeInTwin } from './sections.ts';

/** Result of reading a desired configuration. */
export type TwinReading =
  | {
      readonly ok: true;
      readonly settings: Settings;
      /** Settings as reported spells them: as desired does, or in the canonical spelling. Absent where nothing is set. */
      readonly spellings: ReadonlyMap<SettingId, Spelling>;
      /** The same settings as a document of the dialect, for reported. */
      readonly mirror: Readonly<Record<string, unknown>>;
      /** Applied, but probably not what was meant; and each setting that a local limit overrides. */
      readonly warnings: readonly Fault[];
      /** The warnings that come from local limits. */
      readonly limited: readonly Fault[];
      /** Names in the document that this agent does not know. */
      readonly unknown: readonly string[];
      /** The value of each setting that has one, to see what has changed. */
      readonly values: ReadonlyMap<SettingId, unknown>;
    }
  /** No part of it is applied. Every fault is listed. */
  | { readonly ok: false; readonly faults: readonly Fault[] };

/** `name` is that of the dialect. */
export type Fault = Pick<ConfigurationFault, 'name' | 'type' | 'message'>;

/**
 * Reads a desired configuration. Pure, bounded, never throws: it is hostile input.
 *
 * @param document `undefined` or `null` when the twin has none: all defaults
 * @param limits of the local file; they win
 */
export function readTwin(document: unknown, dialect: Dialect, limits: Limits = NO_LIMITS): TwinReading {
  const { properties } = dialect;
  const reading = dialect.read(document);
  if ('fault' in reading) {
    return { ok: false, faults: [{ name: reading.name, type: 'TypeMismatch', message: reading.fault }] };
  }
  const values = new Map<SettingId, unknown>();
  const spellings = new Map<SettingId, Spelling>();
  const faults: Fault[] = [];
  const limitedFaults: Fault[] = [];
  for (const property of properties) {
    const { id, name } = property;
    const checked = check(property, reading.stated.get(id));
    if (checked === undefined) continue;
    if ('fault' in checked) {
      faults.push({ name, type: 'TypeMismatch', message: checked.fault });
      continue;
    }
    const instead = limited(property, checked.value, limits);
    values.set(id, instead?.value ?? checked.value);
    spellings.set(id, instead?.spelling ?? checked.spelling);
    if (instead !== undefined) limitedFaults.push({ name, type: 'Conflict', message: instead.message });
  }
  const mirror = dialect.write(spellings);
  if (faults.length === 0) faults.push(...tooLarge(mirror));
  if (faults.length > 0) return { ok: false, faults };
  const settings = settingsOf(properties, values);
  const nameOf = namesOf(properties);
  const warnings = warningsOf(settings, nameOf).map(({ setting, ...fault }) => ({ name: nameOf(setting), ...fault }));
  return {
    ok: true,
    settings,
    spellings,
    mirror,
    warnings: [...limitedFaults, ...warnings],
    limited: limitedFaults,
    unknown: reading.unknown,
    values,
  };
}

/** A configuration whose mirror left no room for the status could hide what it switches off. */
function tooLarge(mirror: unknown): Fault[] {
  const size = sizeInTwin(mirror);
  if (size <= LARGEST_MIRROR) return [];
  const message = `has ${size} bytes with its defaults, more than the ${LARGEST_MIRROR} that may be reported`;
  return [{ name: '(configuration)', type: 'TypeMismatch', message }];
}

type Checked = { readonly value: unknown; readonly spelling: Spelling } | { readonly fault: string };

/** @returns `undefined` when nothing is stated and the setting has no default */
function check({ kind, fallback }: SettingRow, stated: Stated = { value: fallback }): Checked | undefined {
  if ('fault' in stated) return stated;
  if (stated.value === undefined) return undefined;
  const result = v.safeParse(kind.schema, stated.value);
  if (!result.success) return { fault: result.issues[0].message };
  return { value: result.output, spelling: stated.value as Spelling };
}

/** The reading of no configuration at all. */
export function readDefaults(dialect: Dialect, limits?: Limits): Extract<TwinReading, { ok: true }> {
  const reading = readTwin(undefined, dialect, limits);
  if (reading.ok) return reading;
  throw new TypeError(`the defaults are not valid: ${JSON.stringify(reading.faults)}`);
}

type SettingWarning = Pick<SettingFault, 'setting' | 'type' | 'message'>;

/** Combinations of settings that are applied although they are probably not what was meant (contract §2). */
function warningsOf(settings: Settings, nameOf: NameOfSetting): SettingWarning[] {
  const found: SettingWarning[] = [];
  const warn = (setting: SettingWarning['setting'], type: SettingWarning['type'], message: string) =>
    found.push({ setting, type, message });
  if (settings.maxMessageSizeInBytes % 4096 !== 0) {
    warn('maxMessageSizeInBytes', 'NotOptimal', 'is not a multiple of 4096, the unit in which the hub charges');
  }
  if (settings.maxLocalCacheSizeInBytes < settings.maxMessageSizeInBytes) {
    const message = `is smaller than ${nameOf('maxMessageSizeInBytes')}, so that no message can be filled`;
    warn('maxLocalCacheSizeInBytes', 'Conflict', message);
  }
  if (settings.highPriorityMessageFrequency > settings.lowPriorityMessageFrequency) {
    const message = `is longer than ${nameOf('lowPriorityMessageFrequency')}`;
    warn('highPriorityMessageFrequency', 'Conflict', message);
  }
  const { baselineCustomChecksFilePath: path, baselineCustomChecksFileHash: hash } = settings;
  if (settings.baselineCustomChecksEnabled && (path === undefined || hash === undefined)) {
    const needed = `${nameOf('baselineCustomChecksFilePath')} and ${nameOf('baselineCustomChecksFileHash')}`;
    warn('baselineCustomChecksEnabled', 'Conflict', `needs ${needed}; only default rules are evaluated`);
  }
  if (settings.detectionsEnabled && settings.priorities.SecurityAlert === 'Off') {
    const message = `is Off, so that alerts are only logged on the device; ${nameOf('detectionsEnabled')} is true`;
    warn('priorities.SecurityAlert', 'Conflict', message);
  }
  if (!settings.detectionsEnabled && settings.detectionsSilencedUntil !== '') {
    warn('detectionsSilencedUntil', 'Conflict', `has no effect while ${nameOf('detectionsEnabled')} is false`);
  }
  if (settings.detectionsMinimumLevel === 'critical') {
    warn('detectionsMinimumLevel', 'NotOptimal', 'is critical: nearly all built-in rules make no alerts');
  }
  const broad = Object.entries(settings.detectionsExceptions).find(([, exception]) => isBroad(exception));
  if (broad !== undefined) {
    warn('detectionsExceptions', 'NotOptimal', `has an exception for nearly everything: ${broad[0]}`);
  }
  return found;
}
