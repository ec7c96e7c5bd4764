import { systemClock } from '../../../core/base/clock.ts';
import { seconds } from '../../../core/base/duration.ts';
import type { AgentError } from '../../../core/base/errors.ts';
import type { HubFailure, Transport } from '../../../core/contract/hub.ts';
import type { Network, Target } from '../../../core/network/network.ts';
import type { LocalSettings } from '../../config/local.ts';
import type { TransportChoice } from '../../hub/transport.ts';
import type { Identity, Presentation, Step } from '../../identity/identity.ts';
import type { ServiceUnit } from '../../linux/self/service-unit.ts';
import type { LocalStatus } from '../../status/schema.ts';
import type { Finding } from './finding.ts';

/** One check of `vakt check`. To add one: a file that exports it, and a line in index.ts. */
export interface Check {
  /** The heading of its findings. */
  readonly name: string;
  /** Names of checks that it depends on: if one of them fails or is skipped, this one is skipped, without a finding. */
  readonly needs?: readonly string[];
  /** Whether it also runs when the configuration is invalid, with the default settings. */
  readonly worksWithoutConfiguration?: true;
  /**
   * May return no findings. An error that it throws becomes a finding.
   *
   * @param failed names of the checks that failed or were skipped so far
   */
  run(situation: Situation, failed: ReadonlySet<string>): readonly Finding[] | Promise<readonly Finding[]>;
}

/** The input of all checks. */
export interface Situation {
  readonly configFile: string;
  readonly local: LocalSettings;
  readonly agent: RunningAgent;
  /** The folder in which systemd's copies of secrets are. */
  readonly credentials: string;
  /** Whether an agent is running, or may be. */
  readonly mayRun: boolean;
  /** How the agent proves who it is, or why it can't. */
  readonly identity: Presented | AgentError;
  readonly network: Network | AgentError;
  readonly transports: TransportChoice;
  /** What the agent uses now, or first. */
  readonly transport: Transport;
  /** Tests the connection to the hub, once; `undefined` if the hub is unknown. */
  readonly networkPath: () => Promise<NetworkPath | undefined>;
  /** Aborts at Ctrl-C. */
  readonly signal: AbortSignal;
}

/**
 * A running agent has a `status`. With a `statusError`, an agent may be running, and must not be disturbed: the hub would
 * close its connection for a second one. With neither, no agent is running.
 */
export interface RunningAgent {
  readonly status?: LocalStatus;
  /** The same, unless the agent was started by another local file: then its connection says nothing about the checked one. */
  readonly statusByThisFile?: LocalStatus;
  /** Why it is unknown whether an agent is running. */
  readonly statusError?: AgentError;
  /** If no agent is running: its systemd service, if there is one. */
  readonly unit?: ServiceUnit;
}

/** An identity that has made what a connection needs, by all steps but the connection. */
export interface Presented {
  readonly identity: Identity;
  readonly steps: readonly Step[];
  /** `undefined`: it could not be made, and `failure` says why. */
  readonly presentation?: Presentation;
  readonly failure?: HubFailure;
  /** It was not tried: it would ask services for credentials, and an agent that may be running has done so. */
  readonly isLeftToAgent?: true;
}

/** Findings about the connection to the hub by one transport, up to TLS. */
export interface Walk {
  readonly transport: Transport;
  readonly target: Target;
  readonly findings: readonly Finding[];
  /** Why the hub can't be reached by it. */
  readonly failure?: HubFailure;
}

/** The connection that the agent uses. */
export interface NetworkPath {
  readonly taken: Walk;
  readonly findings: readonly Finding[];
}

/** For one step of a check. */
const LIMIT = seconds(10);

/** Waits for one step of a check. @throws TimeLimitError after 10 s, or the signal's reason */
export async function step<T>(label: string, work: Promise<T>, signal: AbortSignal): Promise<T> {
  const done = new AbortController();
  const aborted = new Promise<never>((_, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true, signal: done.signal });
  });
  try {
    return await Promise.race([systemClock.within(LIMIT, label, work), aborted]);
  } finally {
    done.abort();
  }
}
