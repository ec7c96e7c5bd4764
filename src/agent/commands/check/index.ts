import { audit } from './audit.ts';
import { capabilities } from './capabilities.ts';
import { clock } from './clock.ts';
import { codeCache } from './code-cache.ts';
import { configuration } from './configuration.ts';
import { container } from './container.ts';
import { controlSocket } from './control-socket.ts';
import { copies } from './copies.ts';
import { disk } from './disk.ts';
import { events } from './events.ts';
import { type Finding, failed } from './finding.ts';
import { agentsHub, hub } from './hub.ts';
import { identity } from './identity.ts';
import { limits } from './limits.ts';
import { memory } from './memory.ts';
import { networkPath } from './network-path.ts';
import { openFiles } from './open-files.ts';
import { processes } from './processes.ts';
import { routing } from './routing.ts';
import { runningAgent } from './running-agent.ts';
import { secrets } from './secrets.ts';
import type { Check, Situation } from './situation.ts';
import { snapshots } from './snapshots.ts';
import { stateDirectory } from './state-directory.ts';
import { tasks } from './tasks.ts';

/** All checks, in the order of the output. A check comes after those that it depends on. */
export const checks: readonly Check[] = [
  configuration,
  limits,
  runningAgent,
  clock,
  copies,
  identity,
  secrets,
  stateDirectory,
  disk,
  controlSocket,
  memory,
  openFiles,
  tasks,
  codeCache,
  routing,
  networkPath,
  agentsHub,
  hub,
  container,
  processes,
  capabilities,
  audit,
  snapshots,
  events,
];

/** The checks that do not need a valid configuration. */
export const systemChecks: readonly Check[] = checks.filter((check) => check.worksWithoutConfiguration);

/** Runs all checks, one at a time. A check that throws becomes a finding. */
export async function runChecks(situation: Situation, all: readonly Check[] = checks): Promise<Finding[]> {
  const findings: Finding[] = [];
  const failedChecks = new Set<string>();
  for (const check of all) {
    if (check.needs?.some((needed) => failedChecks.has(needed))) {
      failedChecks.add(check.name);
      continue;
    }
    const found = await look(check, situation, failedChecks);
    if (found.some(({ state }) => state === 'wrong')) failedChecks.add(check.name);
    findings.push(...found);
  }
  return findings;
}

async function look(
  check: Check,
  situation: Situation,
  failedChecks: ReadonlySet<string>,
): Promise<readonly Finding[]> {
  try {
    return await check.run(situation, failedChecks);
  } catch (error) {
    situation.signal.throwIfAborted();
    return [failed(check.name, error)];
  }
}
