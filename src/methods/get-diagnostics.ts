import { release } from 'node:os';
import * as v from 'valibot';
import type { LogLine } from '../base/log.ts';
import { method } from '../contract/method.ts';
import { count, nothing, object, text } from './fields.ts';
import type { MethodParts } from './parts.ts';
import { redact } from './redact.ts';

/** In bytes of JSON. */
export const LARGEST_DIAGNOSTICS = 64_000;

export const getDiagnostics = method({
  name: 'getDiagnostics',
  summary: 'Says what is needed to find out what is wrong, without secrets, in at most 64 KB.',
  permission: 'getDiagnostics',
  request: nothing,
  answer: v.strictObject({
    versions: object("Of the agent, Node, its parts, the kernel and the machine's architecture."),
    state: text('As in the status.'),
    hub: object('How the connection stands.'),
    sources: object('Where the events come from, by event.'),
    store: object('Where events wait.'),
    memory: object('What the agent takes, of what it may.'),
    configuration: object("The twin's: in force, and what is wrong with the desired one."),
    local: object("The device's own settings; of secrets only where they lie."),
    lastErrors: v.pipe(v.array(v.object({})), v.description('The last warnings and errors of the log, oldest first.')),
    lastErrorsLeftOut: count('Older ones that there was no room for.'),
  }),
  run(_request, { status, configuration, local, recentLines, secrets }: MethodParts) {
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
    return fitting(redact({ ...facts, lastErrors: recentLines(), lastErrorsLeftOut: 0 }, secrets));
  },
});

/** Leaves out the oldest lines for which there is no room. Everything else has bounds of its own, far below it. */
function fitting<T extends { lastErrors: readonly LogLine[]; lastErrorsLeftOut: number }>(diagnostics: T) {
  const { lastErrors: all, ...rest } = diagnostics;
  let room = LARGEST_DIAGNOSTICS - sizeOf({ ...rest, lastErrors: [], lastErrorsLeftOut: all.length });
  const lastErrors = [...all]
    .reverse()
    .filter((line) => {
      room -= sizeOf(line) + 1;
      return room >= 0; // and so are all that are older
    })
    .reverse()
    .map((line) => ({ ...line }));
  return { ...rest, lastErrors, lastErrorsLeftOut: all.length - lastErrors.length };
}

const sizeOf = (value: unknown) => Buffer.byteLength(JSON.stringify(value));
