import { systemClock } from '../../core/base/clock.ts';
import { type Duration, formatDuration, milliseconds, seconds } from '../../core/base/duration.ts';
import { printable } from '../../core/base/text.ts';
import { isPlainObject } from '../../core/base/values.ts';
import { type Choice, chosenModules } from '../choice.ts';
import type { Row } from '../service.ts';
import type { DesiredFile } from './desired-file.ts';
import type { Task } from './task.ts';
import { isSo } from './write.ts';

/** Maximum number of devices named at the end; further ones are only counted. */
const MAX_NAMED = 100;
/** Time between polls, per page of a poll: hubs of one unit answer 20 queries per minute. */
const BETWEEN = seconds(3);

/**
 * An agent's result for the configuration. `limited`: applied, but limits of the device's local file replace some values.
 * `silent`: the agent reported an earlier configuration or none, or the hub's queries don't show it yet.
 */
type Verdict = 'applied' | 'limited' | 'refused' | 'silent';

/** `$version` of desired, keyed by device id. */
type Versions = ReadonlyMap<string, number>;

interface Look {
  readonly counts: Record<Verdict, number>;
  /** `DEVICE: reason` of agents that rejected it. */
  readonly refusals: string[];
  readonly silent: string[];
  readonly pages: number;
}

/**
 * Shows how many agents have applied it, refuse it or are silent, until none is silent or the time limit is reached. Each
 * poll queries all.
 *
 * @param versions the written versions. Their devices are queried in any case, except with `--all`.
 * @returns whether all have applied it
 */
export async function waitForAgents(
  task: Task,
  { wanted, versions, limit }: { wanted: DesiredFile; versions: Versions; limit: Duration },
): Promise<boolean> {
  const { report, world } = task;
  const until = systemClock.monotonic() + limit;
  for (let before = ''; ; ) {
    const look = await lookAt(task, wanted, versions);
    const now = describe(look);
    if (world.terminal) report.show(now);
    else if (now !== before) report.line(now);
    before = now;
    const left = until - systemClock.monotonic();
    if (look.counts.silent === 0 || left <= 0 || world.signal.aborted) return conclude(task, look, limit);
    const pause = Math.min(left, BETWEEN * Math.max(1, look.pages));
    await systemClock.sleep(milliseconds(pause), world.signal);
  }
}

async function lookAt({ hub, choice, moduleId }: Task, wanted: DesiredFile, versions: Versions): Promise<Look> {
  const object = `[[${wanted.objectName}]]`;
  const agent = 'properties.reported.securityAgent.configuration';
  const columns = [
    `deviceId, properties.desired.$version AS version, properties.desired.${object} AS desired`,
    `properties.reported.${object} AS mirror, ${agent} AS configuration`,
  ].join(', ');
  const counts = { applied: 0, limited: 0, refused: 0, silent: 0 };
  const refusals: string[] = [];
  const silent: string[] = [];
  let pages = 0;
  const unseen = new Set(choice.kind === 'all' ? [] : versions.keys());
  const isSilent = (deviceId: string) => {
    counts.silent += 1;
    if (silent.length < MAX_NAMED) silent.push(deviceId);
  };
  const ask = async (asked: Choice) => {
    for await (const rows of chosenModules(hub, { choice: asked, moduleId, columns })) {
      pages += 1;
      for (const row of rows) {
        const deviceId = String(row.deviceId);
        unseen.delete(deviceId);
        const verdict = verdictOn(row, wanted, versions.get(deviceId));
        if (verdict === 'silent') isSilent(deviceId);
        else counts[verdict] += 1;
        if (verdict === 'refused' && refusals.length < MAX_NAMED)
          refusals.push(`${deviceId}: ${reasonsIn(row.configuration)}`);
      }
    }
  };
  await ask(choice);
  // The write may have changed a value that the condition tests.
  if (choice.kind === 'where' && unseen.size > 0) await ask({ kind: 'devices', ids: [...unseen] });
  for (const deviceId of unseen) isSilent(deviceId);
  return { counts, refusals, silent, pages };
}

/**
 * Only a row with the configuration counts, in the version that was read or written: queries lag, so the row may be older.
 *
 * @param least the version; `undefined` if this run has not read the twin
 */
function verdictOn(
  { version, desired, mirror, configuration }: Row,
  { document }: DesiredFile,
  least: number = 0,
): Verdict {
  if (Number(version) < least) return 'silent';
  if (!isPlainObject(configuration) || !isSo(document, desired)) return 'silent';
  const { desiredVersion, errors, source } = configuration;
  if (typeof desiredVersion !== 'number' || desiredVersion < Number(version)) return 'silent';
  if (isPlainObject(errors) && Object.keys(errors).length > 0) return 'refused';
  if (source !== 'desired') return 'silent';
  const stated = Object.fromEntries(Object.entries(document).filter(([, value]) => value !== null));
  return isSo(stated, mirror) ? 'applied' : 'limited';
}

function reasonsIn(configuration: unknown): string {
  const errors = isPlainObject(configuration) && isPlainObject(configuration.errors) ? configuration.errors : {};
  return Object.entries(errors)
    .map(([name, message]) => `${name} ${message}`)
    .join('; ');
}

const describe = ({ counts: { applied, limited, refused, silent } }: Look) =>
  `${applied + limited} applied${limited === 0 ? '' : ` (${limited} within local limits)`}, ${refused} refused, ${silent} silent`;

function conclude({ report, world }: Task, look: Look, limit: Duration): boolean {
  const { counts, refusals, silent } = look;
  report.line(`Agents: ${describe(look)}.`);
  const list = (title: string, all: readonly string[], count: number) => {
    if (count === 0) return;
    world.stderr(title);
    for (const line of all) world.stderr(printable(`  ${line}`));
    if (count > all.length) world.stderr(`  and ${count - all.length} more`);
  };
  list('These agents rejected it:', refusals, counts.refused);
  list(`These agents have been silent for ${formatDuration(limit)}:`, silent, counts.silent);
  return counts.refused === 0 && counts.silent === 0;
}
