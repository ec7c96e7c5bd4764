/*
 * Load of a hub by a fleet after an outage: agents with their real pacing code on a simulated clock and network. It takes a few
 * minutes and depends only on the code, so it is run by hand, not by `npm run docs`.
 *
 *   node dist/test/bench/scale.bench.js [--devices 10000] [--scenario NAME …] [--write]
 *
 * --write writes the pictures of S1 to docs/scale/; otherwise they are in the folder for temporary files.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '../../src/core/base/clock.ts';
import type { HubLimits } from '../harness/scale/limits.ts';
import { s1, s2, s3 } from '../harness/scale/limits.ts';
import { HEADS, pictureOf, rowOf } from '../harness/scale/results.ts';
import { SCENARIOS, simulate } from '../harness/scale/scenarios.ts';
import { TOP } from '../harness/top.ts';
import { report } from './figures.ts';

/** Enough for the messages of 10,000 gateways, see docs/cost.md; one unit of the larger tiers is enough, too. */
const HUBS: Readonly<Record<string, HubLimits>> = { s1: s1(11), s2: s2(1), s3: s3(1) };
type Name = keyof typeof SCENARIOS;

const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '10000' },
    scenario: { type: 'string', multiple: true, default: Object.keys(SCENARIOS) },
    hub: { type: 'string', multiple: true, default: Object.keys(HUBS) },
    write: { type: 'boolean', default: false },
  },
});
const devices = Number(values.devices);
const folder = mkdtempSync(join(tmpdir(), 'vakt-bench-'));
const keyFile = join(folder, 'device.key');
writeFileSync(keyFile, `${Buffer.alloc(32, 1).toString('base64')}\n`, { mode: 0o600 });
const rows: string[][] = [];
try {
  for (const name of values.scenario as Name[]) {
    for (const hub of values.hub) {
      const limits = HUBS[hub];
      if (limits === undefined || SCENARIOS[name] === undefined) throw new RangeError(`${name} ${hub}`);
      const began = systemClock.monotonic();
      const result = await simulate(SCENARIOS[name], { devices, limits, keyFile });
      const row = rowOf(result);
      rows.push(row);
      console.log(`${row.join('  ')}  (${((systemClock.monotonic() - began) / 1_000).toFixed(0)} s)`);
      if (hub !== 's1') continue;
      const path = values.write ? join(TOP, 'docs/scale') : folder;
      mkdirSync(path, { recursive: true });
      writeFileSync(
        join(values.write ? path : tmpdir(), `${values.write ? '' : 'vakt-'}${name}.svg`),
        pictureOf(result),
      );
    }
  }
  report(`${devices} agents after an outage`, [[...HEADS], ...rows]);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
