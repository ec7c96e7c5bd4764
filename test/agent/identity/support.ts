import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { IdentityContext, PresentOptions, Step } from '../../../src/agent/identity/identity.ts';
import { type Clock, systemClock } from '../../../src/core/base/clock.ts';
import { type Duration, milliseconds } from '../../../src/core/base/duration.ts';
import { AgentError, type FailureId } from '../../../src/core/base/errors.ts';
import { HubFailure, type RetryCause } from '../../../src/core/contract/hub.ts';
import { Network } from '../../../src/core/network/network.ts';
import { capturedLog } from '../hub/support.ts';

/** Writes files into a folder. @returns the path */
export const writer =
  (folder: string) =>
  (name: string, contents: string, mode = 0o600): string => {
    const file = join(folder, name);
    writeFileSync(file, contents, { mode });
    chmodSync(file, mode);
    return file;
  };

/** A clock that shows another date, and on which sleeping takes no time. */
export function clockAt(date: Date | (() => Date), slept: Duration[] = []): Clock {
  return {
    ...systemClock,
    now: () => (typeof date === 'function' ? date() : date),
    async sleep(wait, signal) {
      slept.push(wait);
      await systemClock.sleep(milliseconds(0), signal);
    },
  };
}

/** What an identity is made with, and the log that it writes. */
export function contextWith({
  trustedCaFile,
  ...changes
}: Partial<IdentityContext> & { trustedCaFile?: string } = {}): IdentityContext & {
  readonly captured: ReturnType<typeof capturedLog>;
} {
  const captured = capturedLog();
  const { clock = systemClock } = changes;
  return {
    hub: {},
    network: new Network({
      environment: {},
      clock: systemClock,
      ...(trustedCaFile === undefined ? {} : { trustedCaFile }),
    }),
    clock,
    log: captured.log,
    environment: {},
    state: undefined,
    mayCreate: true,
    ...changes,
    captured,
  };
}

/** Options of one presentation, with the steps that it reports. */
export function presenting(): PresentOptions & { readonly steps: Step[] } {
  const steps: Step[] = [];
  return { signal: new AbortController().signal, onStep: (step) => steps.push(step), steps };
}

/** The failure that `work` must end with. No text of it may hold one of the secrets. */
export async function failureOf(
  work: Promise<unknown>,
  id: FailureId,
  cause: RetryCause,
  secrets: readonly string[] = [],
): Promise<HubFailure> {
  const failure = await work.then(
    () => assert.fail(`succeeded instead of ${id}`),
    (error: unknown) => error,
  );
  assert.ok(failure instanceof HubFailure, String(failure));
  assert.deepEqual([failure.error.id, failure.retryCause], [id, cause], failure.error.message);
  assertHidden(failure.error, secrets);
  return failure;
}

/** The error that `action` must throw. */
export function errorOf(action: () => unknown, id: FailureId, secrets: readonly string[] = []): AgentError {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof AgentError, String(error));
    assert.equal(error.id, id, error.message);
    assertHidden(error, secrets);
    return error;
  }
  return assert.fail(`was accepted instead of ${id}`);
}

function assertHidden({ message, remedy, stack }: AgentError, secrets: readonly string[]): void {
  for (const secret of secrets) {
    const lines = secret.split('\n').filter((line) => line.length > 12 && !line.startsWith('-----'));
    for (const line of lines) assert.ok(!`${message} ${remedy} ${stack}`.includes(line.slice(0, 12)), 'shows a secret');
  }
}
