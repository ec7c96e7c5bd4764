import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { type Duration, seconds } from '../../src/core/base/duration.ts';
import { nodeFlagsOf } from '../node-flags.ts';
import { type AgentProcess, DEVICE, MODULE, PROGRAM, type TestBed } from './test-bed.ts';

/**
 * Within which the agent must be connected after a service of the device has come: 15 s (contract §1), which the tests of
 * HubSupervisor hold, and what others on the machine take of its time.
 */
const AFTER_ITS_COMING = seconds(35);

export const isModule = ({ clientId, admitted }: { clientId: string; admitted: boolean }) =>
  admitted && clientId === `${DEVICE}/${MODULE}`;

/** Connections of the module that the hub has accepted so far. */
export const connectionsOf = ({ hub }: Pick<TestBed, 'hub'>): number => hub.connections.filter(isModule).length;

/** Does something, after which the agent must connect within a limit. */
export async function connectsAfter(
  bed: Pick<TestBed, 'hub'>,
  agent: AgentProcess,
  event: () => Promise<unknown>,
  limit: Duration = AFTER_ITS_COMING,
): Promise<void> {
  const before = connectionsOf(bed);
  await event();
  await agent.waitForStatus(({ hub }) => hub.state === 'connected' && connectionsOf(bed) > before, limit);
}

/** Runs `vakt check` with the test bed's configuration. */
export async function check(
  { directory }: TestBed,
  environment: NodeJS.ProcessEnv = {},
  ...args: readonly string[]
): Promise<{ status: number | null; output: string }> {
  const program = [...nodeFlagsOf(PROGRAM), PROGRAM, 'check', '--config', join(directory, 'agent.json'), ...args];
  const child = spawn(process.execPath, program, { env: { ...process.env, ...environment } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  const status = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { status, output };
}

/** Whether `vakt check` found nothing wrong, but for the packet filter, which only root may read. */
export function assertRight(status: number | null, output: string): void {
  const wrong = [...output.matchAll(/^WRONG +(\S+)/gm)].map(([, what]) => what);
  const isRoot = process.getuid?.() === 0;
  assert.deepEqual(isRoot ? wrong : wrong.filter((what) => what !== 'FirewallConfiguration'), [], output);
  assert.equal(status, wrong.length === 0 ? 0 : 1, output);
}
