import { systemClock } from '../../../src/core/base/clock.ts';
import type { Duration } from '../../../src/core/base/duration.ts';
import type { HubEmulator } from '../../../src/emulator/hub.ts';

/** A fault of the agent, or of something that it depends on. */
export interface Fault {
  readonly name: string;
  begin(): Promise<unknown> | unknown;
  /** Restores the normal state. */
  end(): Promise<unknown> | unknown;
}

/** A fault at its time in the schedule. */
export interface Step {
  readonly fault: Fault;
  /** Durations until the fault begins, of the fault, and from its end until the load stops. Default: 0. */
  readonly before?: Duration;
  readonly lasts?: Duration;
  readonly after?: Duration;
  /** Called after the end of the fault, while the load continues, with the times of the monotonic clock when it lasted. */
  readonly recover?: (began: number, ended: number) => Promise<void> | void;
  /** Called when the load has stopped. */
  readonly check?: () => Promise<void>;
}

/** An agent with its surroundings, load, faults and checks. It records violations in its verdict. */
export interface Scenario {
  /** Folder of its files, which are kept if it fails. */
  readonly directory: string;
  /** Rejects when the scenario can't continue, for example because the agent has exited. */
  readonly failed?: Promise<never> | undefined;
  /** Resolves when the agent reads events. */
  begin(signal: AbortSignal): Promise<void>;
  /** Generates events until `signal` aborts. */
  load(signal: AbortSignal): Promise<void>;
  /** The schedule. The next step is requested after the check of the previous one. */
  steps(): Iterable<Step>;
  /** Called after the last step, for the final checks. */
  settle(): Promise<void>;
  /** @param options.keep leaves its files for analysis */
  close(options: { readonly keep: boolean }): Promise<void>;
}

/** Number of violations of one kind that are recorded, so that a lasting defect does not hide all others. */
const MAX_OF_A_KIND = 5;

/** The violations that a scenario has found. Prints each as it is found. */
export class Verdict {
  readonly violations: string[] = [];
  readonly say: (line: string) => void;
  readonly name: string;
  /** Number of violations that differ only in numbers, keyed by text. */
  readonly #kinds = new Map<string, number>();

  /** @param name of the scenario, with all that is needed to repeat it */
  constructor(name: string, say: (line: string) => void) {
    this.name = name;
    this.say = say;
  }

  get isPassed(): boolean {
    return this.violations.length === 0;
  }

  add(violations: readonly string[]): void {
    for (const violation of violations) {
      const kind = violation.replaceAll(/\d+/g, '0');
      const count = (this.#kinds.get(kind) ?? 0) + 1;
      this.#kinds.set(kind, count);
      if (count > MAX_OF_A_KIND) continue;
      this.violations.push(violation);
      this.say(`VIOLATION in ${this.name}: ${violation}`);
    }
  }
}

/**
 * Runs a scenario: for each step, its fault under load and then its check; closes it in any case. An error is a violation.
 *
 * @param signal ends it early
 */
export async function runScenario(
  scenario: Scenario,
  verdict: Verdict,
  signal: AbortSignal = new AbortController().signal,
): Promise<void> {
  const stop = new AbortController();
  try {
    await scenario.begin(signal);
    const running = runSteps(scenario, AbortSignal.any([signal, stop.signal]));
    try {
      await Promise.race([running, ...(scenario.failed === undefined ? [] : [scenario.failed])]);
    } finally {
      stop.abort();
      await running.catch(() => {});
    }
    await scenario.settle();
  } catch (error) {
    verdict.add([(error as Error).stack ?? String(error)]);
  }
  if (!verdict.isPassed) verdict.say(`${verdict.name}: the files are in ${scenario.directory}`);
  try {
    await scenario.close({ keep: !verdict.isPassed });
  } catch (error) {
    verdict.add([(error as Error).message]);
  }
}

async function runSteps(scenario: Scenario, signal: AbortSignal): Promise<void> {
  for (const step of scenario.steps()) {
    if (signal.aborted) return;
    const { fault, before, lasts, after, recover, check } = step;
    const rest = new AbortController();
    const loading = scenario.load(AbortSignal.any([signal, rest.signal]));
    try {
      await pause(before, signal);
      if (signal.aborted) return;
      const began = systemClock.monotonic();
      await fault.begin();
      await pause(lasts, signal);
      await fault.end();
      const ended = systemClock.monotonic();
      await pause(after, signal);
      if (!signal.aborted) await recover?.(began, ended);
    } finally {
      rest.abort();
      await loading;
    }
    if (!signal.aborted) await check?.();
  }
}

const pause = async (duration: Duration | undefined, signal: AbortSignal): Promise<void> =>
  duration === undefined ? undefined : systemClock.sleep(duration, signal);

type Injected = Parameters<HubEmulator['faults']['inject']>[0];

/** Faults that hubs inject until they end. @param andThen called after their begin */
export const injected = (
  name: string,
  hubs: readonly HubEmulator[],
  faults: readonly Injected[],
  andThen: () => void = () => {},
): Fault => ({
  name,
  begin() {
    for (const hub of hubs) for (const one of faults) hub.faults.inject(one);
    andThen();
  },
  end() {
    for (const hub of hubs) hub.faults.clear();
  },
});

interface Service {
  offline(): Promise<void>;
  online(): Promise<void>;
}

/** Services that can't be reached. @param andThen called after their begin */
export const away = (
  name: string,
  services: readonly Service[],
  andThen: () => Promise<void> | void = () => {},
): Fault => ({
  name,
  async begin() {
    for (const service of services) await service.offline();
    await andThen();
  },
  async end() {
    for (const service of services) await service.online();
  },
});

/** A change that needs no end. */
export const once = (name: string, begin: Fault['begin'] = () => {}): Fault => ({ name, begin, end: () => {} });
