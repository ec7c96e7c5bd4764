import { counted } from '../../core/base/text.ts';
import { UsageError, type World } from '../../core/command-line/command.ts';
import type { Choice } from '../choice.ts';
import type { HubService } from '../service.ts';
import type { FleetValues } from './options.ts';
import type { Report } from './report.ts';

/** What a command of `vakt fleet` works with. */
export interface Task {
  readonly hub: HubService;
  readonly choice: Choice;
  readonly moduleId: string;
  readonly isDryRun: boolean;
  readonly values: FleetValues;
  readonly world: World;
  readonly report: Report;
}

/** @throws {UsageError} unless exactly one way to choose is given, or none where `otherwise` stands in */
export function choiceOf({ device = [], where, all }: FleetValues, otherwise?: Choice): Choice {
  const given = [device.length > 0, where !== undefined, all === true].filter(Boolean).length;
  if (given === 0 && otherwise !== undefined) return otherwise;
  if (given !== 1) throw new UsageError('choose devices by one of --device, --where and --all');
  if (where !== undefined) return { kind: 'where', condition: where };
  return device.length > 0 ? { kind: 'devices', ids: [...new Set(device)] } : { kind: 'all' };
}

/**
 * Asks before more than one device is changed. @param what "make the module x on up to 5 devices"
 *
 * @throws {UsageError} if nobody can be asked
 */
export async function isAgreed({ hub, isDryRun, values, world }: Task, what: string, count: number): Promise<boolean> {
  if (isDryRun || values.yes === true || count <= 1) return true;
  if (world.confirm === undefined) throw new UsageError(`this would ${what} of ${hub.hostName}; confirm it with --yes`);
  if (await world.confirm(`This will ${what} of ${hub.hostName}. Go on?`)) return true;
  world.stderr('Nothing was changed.');
  return false;
}

export const devices = (count: number): string => counted(count, 'device');
