import { counted } from '../../core/base/text.ts';
import { type readArguments, UsageError, type World } from '../../core/command-line/command.ts';
import type { Choice } from '../choice.ts';
import type { HubService } from '../service.ts';
import type { Report } from './report.ts';

const text = { type: 'string' } as const;
const texts = { type: 'string', multiple: true } as const;
const flag = { type: 'boolean' } as const;

/** The options of all commands of `vakt fleet`. */
export const OPTIONS = {
  device: texts,
  where: text,
  all: flag,
  'connection-string-file': text,
  hub: text,
  'trusted-ca-file': text,
  proxy: text,
  'proxy-password-file': text,
  module: text,
  'twin-object-name': text,
  'dry-run': flag,
  yes: flag,
  tag: texts,
  configuration: text,
  overwrite: flag,
  'key-directory': text,
  wait: text,
  degraded: flag,
  paused: flag,
  silent: flag,
  alerts: flag,
  outdated: flag,
  json: flag,
  csv: flag,
  payload: text,
  timeout: text,
} as const;

/** The values of the given options. */
export type FleetValues = Readonly<ReturnType<typeof readArguments<typeof OPTIONS>>['values']>;

/** The context of a `vakt fleet` command. */
export interface Task {
  readonly hub: HubService;
  readonly choice: Choice;
  readonly moduleId: string;
  readonly isDryRun: boolean;
  readonly values: FleetValues;
  readonly world: World;
  readonly report: Report;
}

/** @throws {UsageError} unless exactly one of the options is given, or none and there is a default */
export function choiceOf({ device = [], where, all }: FleetValues, fallback?: Choice): Choice {
  const given = [device.length > 0, where !== undefined, all === true].filter(Boolean).length;
  if (given === 0 && fallback !== undefined) return fallback;
  if (given !== 1) throw new UsageError('choose devices by one of --device, --where and --all');
  if (where !== undefined) return { kind: 'where', condition: where };
  return device.length > 0 ? { kind: 'devices', ids: [...new Set(device)] } : { kind: 'all' };
}

/**
 * Asks for confirmation before more than one device is changed. @param action "make the module x on up to 5 devices"
 *
 * @throws {UsageError} without a terminal
 */
export async function isAgreed(
  { hub, isDryRun, values, world }: Task,
  action: string,
  count: number,
): Promise<boolean> {
  if (isDryRun || values.yes === true || count <= 1) return true;
  if (world.confirm === undefined)
    throw new UsageError(`this would ${action} of ${hub.hostName}; confirm it with --yes`);
  if (await world.confirm(`This will ${action} of ${hub.hostName}. Continue?`)) return true;
  world.stderr('Nothing was changed.');
  return false;
}

export const devices = (count: number): string => counted(count, 'device');
