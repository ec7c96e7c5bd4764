import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { type Duration, seconds } from '../../src/core/base/duration.ts';
import { nodeFlagsOf } from '../node-flags.ts';
import { type AgentProcess, DEVICE, MODULE, PROGRAM, type TestBed } from './test-bed.ts';

/**
 * Time limit for the connection once a service of the device is available: 15 s (contract §1), which the tests of HubSupervisor
 * check, with a margin for a loaded machine.
 */
const AFTER_ITS_COMING = seconds(35);

export const isModule = ({ clientId, admitted }: { clientId: string; admitted: boolean }) =>
  admitted && clientId === `${DEVICE}/${MODULE}`;

/** Connections of the module that the hub has accepted so far. */
export const connectionsOf = ({ hub }: Pick<TestBed, 'hub'>): number => hub.connections.filter(isModule).length;

/** Runs an action, after which the agent must connect within the time limit. */
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

/** Whether `vakt check` found nothing wrong, except for the packet filter, which only root may read. */
export function assertRight(status: number | null, output: string): void {
  const wrong = [...output.matchAll(/^WRONG +(\S+)/gm)].map(([, check]) => check);
  const isRoot = process.getuid?.() === 0;
  assert.deepEqual(isRoot ? wrong : wrong.filter((what) => what !== 'FirewallConfiguration'), [], output);
  assert.equal(status, wrong.length === 0 ? 0 : 1, output);
}
