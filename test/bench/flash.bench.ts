import { type Duration, days, formatDuration, minutes, seconds } from '../../src/core/base/duration.ts';
import { CHOICES, LIVES } from '../agent/pipeline/day-costs.ts';
import type { Life } from '../agent/pipeline/gateway.ts';
import { type LogOfAStart, logsOfAStart } from './auditd-log.ts';
import type { Change } from './disk-trace.ts';
import { Ext4, ext4IsMissing } from './ext4.ts';
import { report } from './figures.ts';
import { writtenInADay } from './flash-day.ts';
import { auditIsMissing } from './slot.ts';
import { Native } from './starts.ts';

/*
 * Bytes written to flash in a day. The agent's parts run on simulated time with the shipped settings; their changes are then
 * repeated on a real ext4, whose block device counts the writes: data in whole pages, the journal, and metadata. The peers are
 * auditd's log and journald's journal of the same starts and exits, without the tables that journald changes in place.
 */

const BUDGET_MB = 5;
const EVERY: readonly Duration[] = [seconds(1), seconds(30), minutes(15), minutes(60)];
/** Budget for the default settings. */
const DEFAULT_BUDGET_MB = 50;
/** Settings of the module twin, keyed by their names in docs/cost.md. */
const TWINS = CHOICES.filter(({ name }) => name === 'default' || name === 'sparing');
const IDLE: Life & { readonly name: string } = {
  name: 'an idle device',
  processesPerHour: 0,
  connectionsPerHour: 0,
  sessionsPerDay: 0,
};
const HEADS = ['module twin', '', 'written, KB', 'syncs', 'to the device, MB', 'budget'];
/** Auditd's default: `flush = INCREMENTAL_ASYNC`, `freq = 50`. */
const AUDITD_RECORDS_A_SYNC = 50;
/** Journald's default SyncIntervalSec. */
const JOURNALD_SYNCS_A_DAY = days(1) / minutes(5);

const missing = ext4IsMissing();
const thousands = (count: number) => Math.round(count).toLocaleString('en-US');

/** @returns MB written to a separate device */
function toDevice(changes: readonly Change[]): string {
  if (missing !== undefined) return '–';
  const disk = new Ext4();
  try {
    const before = disk.written;
    disk.replay(changes);
    disk.unmount();
    return ((disk.written - before) / 1e6).toFixed(1);
  } finally {
    disk.remove();
  }
}

function writes(changes: readonly Change[]): string[] {
  const bytes = changes.reduce((sum, change) => sum + change.bytes, 0);
  const syncs = changes.filter(({ kind }) => kind === 'sync' || kind === 'replace').length;
  return [thousands(bytes / 1_000), thousands(syncs), toDevice(changes)];
}

/** Starts at even intervals, and syncs. */
function logDay(perDay: number, { bytes }: LogOfAStart, syncs: number): Change[] {
  const changes: Change[] = [];
  const path = '/log/log';
  let synced = 0;
  for (let start = 0; start < perDay; start += 1) {
    const at = (start * days(1)) / perDay;
    changes.push({ at, kind: 'append', path, bytes: Math.round(bytes) });
    if (((start + 1) * syncs) / perDay < synced + 1) continue;
    synced += 1;
    changes.push({ at, kind: 'sync', path, bytes: 0 });
  }
  return changes;
}

const native = new Native();
try {
  const noAudit = await auditIsMissing();
  const { auditd, journald } = noAudit === undefined ? await logsOfAStart(native) : {};
  for (const life of [IDLE, ...[...LIVES].reverse()]) {
    const rows = [HEADS];
    for (const { name, desired } of TWINS) {
      for (const every of EVERY) {
        const isTheGoal = life === LIVES[0] && name === 'sparing' && every >= minutes(15);
        const isDefault = life === LIVES[0] && name === 'default' && every === seconds(30);
        const budget = isTheGoal ? BUDGET_MB : isDefault ? DEFAULT_BUDGET_MB : undefined;
        const row = [
          name,
          `store.syncEvery ${formatDuration(every)}`,
          ...writes(await writtenInADay(life, desired, every)),
        ];
        rows.push([...row, budget === undefined ? '' : `≤ ${budget} MB`]);
      }
    }
    const starts = life.processesPerHour * 24;
    if (auditd !== undefined && starts > 0) {
      const syncs = (starts * auditd.records) / AUDITD_RECORDS_A_SYNC;
      rows.push(['auditd', 'starts and ends', ...writes(logDay(starts, auditd, syncs)), '']);
    }
    if (journald !== undefined && starts > 0) {
      const syncs = Math.min(starts, JOURNALD_SYNCS_A_DAY);
      rows.push(['journald', 'starts and ends', ...writes(logDay(starts, journald, syncs)), '']);
    }
    report(`A day of ${life.name}`, rows);
  }
  if (auditd === undefined) console.log(`  auditd and journald are not beside it: ${noAudit}`);
  for (const [name, log] of Object.entries({ auditd, journald }))
    if (log !== undefined)
      console.log(
        `  ${name}: ${log.bytes.toFixed(0)} bytes in ${log.records.toFixed(1)} records for a start and its end.`,
      );
  if (missing !== undefined) console.log(`  Nothing was done on a real file system: ${missing}.`);
} finally {
  native.remove();
}
