import { release } from 'node:os';
import * as v from 'valibot';
import type { LogLine } from '../../core/base/log.ts';
import { redact } from '../../core/base/redact.ts';
import { method } from '../../core/contract/method.ts';
import { count, type MethodParts, nothing, object, text } from './parts.ts';

/** Limit of the answer, in bytes of JSON. */
export const LARGEST_DIAGNOSTICS = 64_000;

export const getDiagnostics = method({
  name: 'getDiagnostics',
  summary: 'Returns what is needed to diagnose a problem, without secrets, in at most 64 KB.',
  permission: 'getDiagnostics',
  request: nothing,
  answer: v.strictObject({
    versions: object("Versions of the agent, Node, V8, OpenSSL and the kernel, and the machine's architecture."),
    state: text("The agent's state, as in the status."),
    hub: object('State of the connection to the hub.'),
    sources: object('State of the source of each event.'),
    store: object('State of the event store on disk.'),
    memory: object('Memory that the agent uses, and its budget.'),
    configuration: object('The configuration from the twin that is in force, and the errors in the desired one.'),
    local: object("The local file's settings; for secrets, only the paths of their files."),
    lastErrors: v.pipe(v.array(v.object({})), v.description('The last warnings and errors of the log, oldest first.')),
    lastErrorsLeftOut: count('Number of older warnings and errors that did not fit.'),
  }),
  run: (_request, parts: MethodParts) => diagnostics(parts),
});

/** The answer, also for `vakt support-bundle`, which asks the control socket and needs no permission of the twin's owner. */
export function diagnostics({ status, configuration, local, recentLines, secrets }: MethodParts) {
  const now = status();
  const facts = {
    versions: {
      agent: now.version,
      node: process.versions.node,
      v8: process.versions.v8,
      openssl: process.versions.openssl,
      kernel: release(),
      architecture: process.arch,
    },
    state: now.state,
    hub: now.hub,
    sources: now.collectors,
    store: now.store,
    memory: now.memory,
    configuration: { ...now.configuration, inForce: configuration() },
    local,
  };
  return fitting(redact({ ...facts, lastErrors: recentLines(), lastErrorsLeftOut: 0 }, secrets()));
}

/** Leaves out the oldest lines that do not fit. All other members have limits that are far below the answer's. */
function fitting<T extends { lastErrors: readonly LogLine[]; lastErrorsLeftOut: number }>(diagnostics: T) {
  const { lastErrors: all, ...rest } = diagnostics;
  let space = LARGEST_DIAGNOSTICS - sizeOf({ ...rest, lastErrors: [], lastErrorsLeftOut: all.length });
  const lastErrors = [...all]
    .reverse()
    .filter((line) => {
      space -= sizeOf(line) + 1;
      return space >= 0; // once negative, no older line fits either
    })
    .reverse()
    .map((line) => ({ ...line }));
  return { ...rest, lastErrors, lastErrorsLeftOut: all.length - lastErrors.length };
}

const sizeOf = (value: unknown) => Buffer.byteLength(JSON.stringify(value));
