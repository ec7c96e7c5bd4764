import { counted } from '../../core/base/text.ts';
import { UsageError, type World } from '../../core/command-line/command.ts';
import type { Choice } from '../choice.ts';
import type { HubService } from '../service.ts';
import type { FleetValues } from './options.ts';
import type { Report } from './report.ts';

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
