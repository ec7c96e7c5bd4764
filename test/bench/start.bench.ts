import { spawnSync } from 'node:child_process';
import { systemClock } from '../../src/base/clock.ts';
import { milliseconds, seconds } from '../../src/base/duration.ts';
import { collectors } from '../../src/collectors/index.ts';
import type { LocalStatus } from '../../src/status/schema.ts';
import { TestBed } from '../integration/test-bed.ts';
import { median, range, report } from './figures.ts';
import { auditIsMissing, sourceNote } from './slot.ts';

/* From the start of the process until every collector works, the hub being out of reach. */

const BUDGET_MS = 1_000;
const ROUNDS = 5;
const LIMIT = seconds(30);

const periodic = collectors.filter(({ category }) => category === 'Periodic').map(({ name }) => name);
const ready = (status: LocalStatus) =>
  periodic.every((name) => {
    const collector = status.collectors[name];
    return collector?.state === 'off' || collector?.lastRunAt !== undefined;
  }) && status.collectors.ProcessCreate?.source !== undefined;

let source: string | undefined;

async function startAgent(bed: TestBed): Promise<number> {
  const began = systemClock.monotonic();
  const agent = bed.startAgent();
  try {
    while (systemClock.monotonic() - began < LIMIT) {
      const status = await agent.status().catch(() => undefined);
      if (status !== undefined && ready(status)) {
        source = status.collectors.ProcessCreate?.source;
        return systemClock.monotonic() - began;
      }
      await systemClock.sleep(milliseconds(10));
    }
    throw new Error(`the agent was not ready after ${LIMIT / 1_000} s:\n${agent.output}`);
  } finally {
    await agent.end();
  }
}

function startNode(): number {
  const began = systemClock.monotonic();
  spawnSync(process.execPath, ['-e', '0']);
  return systemClock.monotonic() - began;
}

const missing = await auditIsMissing();
const bed = await TestBed.open();
bed.writeConfiguration({ detections: { enabled: true } });
try {
  await bed.hub.offline();
  const agent: number[] = [];
  const node: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    node.push(startNode());
    agent.push(await startAgent(bed));
  }
  const row = (what: string, times: readonly number[], budget = '') => [
    what,
    median(times).toFixed(0),
    range(times, 0),
    budget,
  ];
  report(
    'Start to collectors ready, hub unreachable, ms',
    [['', 'median', 'range', 'budget'], row('agent', agent, `≤ ${BUDGET_MS}`), row('node -e 0, to its end', node)],
    [`${ROUNDS} rounds; asked every 10 ms. ${sourceNote(source, missing)}`],
  );
} finally {
  await bed.close();
}
