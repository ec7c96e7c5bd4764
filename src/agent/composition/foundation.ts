import { join } from 'node:path';
import { readFileIfThere } from '../../core/base/atomic-file.ts';
import type { Clock } from '../../core/base/clock.ts';
import type { AdjustableLevel, Logger } from '../../core/base/log.ts';
import type { LogTap, RecentLines } from '../../core/base/log-tap.ts';
import type { Service } from '../../core/base/service.ts';
import { clockOf } from '../../core/base/stall-clock.ts';
import { VERSION } from '../../core/base/version.ts';
import type { LookNow } from '../../core/base/waiting.ts';
import { type Moving, WatchedClock } from '../../core/base/watched-clock.ts';
import type { HubClient } from '../../core/contract/hub.ts';
import type { LocalSettings } from '../config/local.ts';
import type { GuardedFiles } from '../linux/self/exposed-files.ts';
import type { ServiceManager } from '../linux/self/service-manager.ts';
import type { Sender } from '../pipeline/pack.ts';
import { Notifier } from '../state/notifier.ts';
import type { StateFile, StateFolderName } from '../state/read-state.ts';
import { keptAgentId, useStateDirectory } from './state-directory.ts';

/** What the process gives to the agent that it runs. */
export interface AgentOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly tap: LogTap;
  readonly level: AdjustableLevel;
  readonly recent: RecentLines;
  readonly files: Omit<GuardedFiles, 'state'>;
  readonly manager: ServiceManager;
  /** About names in the local file that are not settings. */
  readonly settingWarnings?: readonly string[];
  /** The run is to end: ends what the start may wait for. */
  readonly signal: AbortSignal;
  /** Makes the parts that look at files from time to time look at once. */
  readonly lookNow: Pick<LookNow, 'on'>;
  /** Takes the place of the hub; then no identity is needed either. */
  readonly dryHub?: HubClient & Service;
  /** Called at exit if the disk has not accepted all data: a thread still waits for it. */
  readonly abandoned?: () => void;
}

/** What all parts of the agent have in common. */
export interface Foundation {
  readonly local: LocalSettings;
  readonly options: AgentOptions;
  readonly sender: Sender;
  readonly bootId: string | undefined;
  /** The path of a file in the state directory. */
  readonly state: (file: StateFile | StateFolderName) => string;
  readonly clock: Clock;
  /** The same clock for one part, so that a stall of the event loop can be attributed to that part. */
  readonly clockOf: (part: string) => Clock;
  /** The clock of a part that must never hang; adds the part to `moving`. */
  readonly watched: (part: string) => Clock;
  /** The parts that must make progress, by name. The lifeline reports the first one that hangs. */
  readonly moving: Record<string, Moving>;
  readonly logOf: (part: string) => Logger;
  /** Notified when the status that the twin gets has changed. */
  readonly stateChanged: Notifier;
  /** Notified when events that a pause or the memory limit left out may be collected again. */
  readonly collectingResumed: Notifier;
}

/**
 * Takes the state directory into use.
 *
 * @throws {AgentError} STATE_DIRECTORY_UNUSABLE, or AGENT_RUNNING if another agent uses it
 */
export function createFoundation(local: LocalSettings, options: AgentOptions): Foundation {
  const { clock, log } = options;
  useStateDirectory(local.stateDirectory, log);
  const state = (file: StateFile | StateFolderName) => join(local.stateDirectory, file);
  const bootId = readFileIfThere('/proc/sys/kernel/random/boot_id')?.trim();
  const moving: Record<string, Moving> = {};
  return {
    local,
    options,
    sender: { version: VERSION, id: local.agentId ?? keptAgentId(state('agent-id'), log) },
    bootId,
    state,
    clock,
    clockOf: (part) => clockOf(clock, part),
    watched(part) {
      const watched = new WatchedClock(clockOf(clock, part));
      moving[part] = watched;
      return watched;
    },
    moving,
    logOf: (part) => log.child({ part }),
    stateChanged: new Notifier(),
    collectingResumed: new Notifier(),
  };
}
