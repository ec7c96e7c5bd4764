import { spawnSync } from 'node:child_process';
import { collectors } from '../../src/agent/collectors/index.ts';
import type { LocalStatus } from '../../src/agent/status/schema.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../src/core/base/duration.ts';
import { TestBed } from '../integration/test-bed.ts';
import { median, range, report } from './figures.ts';
import { besideLoad, type FirstEvent, firstEvent, LOAD, raisePriority } from './first-event.ts';
import { auditIsMissing, sourceNote } from './slot.ts';
import { Native } from './starts.ts';

/*
 * Time from the start of the process until all collectors work, and until the first event of the kernel is on disk, on an idle
 * and on a loaded machine, with an unreachable hub.
 */

const BUDGET_MS = 1_000;
const LOADED_BUDGET_MS = 3_000;
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

function startNode(through: readonly string[] = []): number {
  const [program = process.execPath, ...args] = [...through, process.execPath, '-e', '0'];
  const began = systemClock.monotonic();
  spawnSync(program, args);
  return systemClock.monotonic() - began;
}

interface FirstEvents {
  readonly agent: readonly FirstEvent[];
  readonly node: readonly number[];
}

async function firstEvents(program: string, normally: readonly string[]): Promise<FirstEvents> {
  const agent: FirstEvent[] = [];
  const node: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    node.push(startNode(normally));
    agent.push(await firstEvent(bed, program, normally));
  }
  return { agent, node };
}

const row = (label: string, times: readonly number[], budget = '') => [
  label,
  median(times).toFixed(0),
  range(times, 0),
  budget,
];

const firstRows = (where: string, { agent, node }: FirstEvents, budget = '') => [
  row(
    `${where}: first event on disk`,
    agent.map(({ onDisk }) => onDisk),
    budget,
  ),
  row(
    `${where}: earliest start in an event`,
    agent.map(({ observedFrom }) => observedFrom),
  ),
  row(`${where}: node -e 0, to its end`, node),
];

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
  report(
    'Start to collectors ready, hub unreachable, ms',
    [['', 'median', 'range', 'budget'], row('agent', agent, `≤ ${BUDGET_MS}`), row('node -e 0, to its end', node)],
    [`${ROUNDS} rounds; asked every 10 ms. ${sourceNote(source, missing)}`],
  );
  const native = new Native();
  try {
    const normally = raisePriority();
    const quiet = await firstEvents(native.program, normally);
    const loaded = await besideLoad(normally, () => firstEvents(native.program, normally));
    const load = `${LOAD} busy processes`;
    report(
      'Start to the first event on disk, hub unreachable, ms',
      [
        ['', 'median', 'range', 'budget'],
        ...firstRows('quiet', quiet),
        ...firstRows(load, loaded, `≤ ${LOADED_BUDGET_MS}`),
      ],
      [
        `${ROUNDS} rounds without earlier state; a program started every 20 ms; files were read every 50 ms.`,
        "On disk: survives kill -9. All processes have the same priority, unlike under the service's CPUWeight.",
      ],
    );
  } finally {
    native.remove();
  }
} finally {
  await bed.close();
}
