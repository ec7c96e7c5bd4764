import { capabilities, container, processes } from './access.ts';
import { audit } from './audit.ts';
import { clock } from './clock.ts';
import { events, snapshots } from './collectors.ts';
import { configuration, limits, routing } from './configuration.ts';
import { agentsHub, hub, identity, networkPath } from './connection.ts';
import { type Finding, failed } from './finding.ts';
import { codeCache, memory, openFiles, tasks } from './resources.ts';
import { controlSocket, runningAgent } from './running-agent.ts';
import { copies, secrets } from './secrets.ts';
import type { Check, Situation } from './situation.ts';
import { disk, stateDirectory } from './state-directory.ts';

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
