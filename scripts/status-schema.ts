/* What `securityAgent` in the reported properties looks like: for those who read it. The compiler holds it against the
 * type that the agent reports by, and tests hold what is reported against it. */

import { toJsonSchema } from '@valibot/to-json-schema';
import * as v from 'valibot';
import { DROP_REASONS } from '../src/base/counters.ts';
import { collectors } from '../src/collectors/index.ts';
import type { SecurityAgentStatus } from '../src/status.ts';

const said = (description: string) => v.pipe(v.string(), v.description(description));
const time = (description: string) =>
  v.pipe(v.string(), v.isoTimestamp(), v.description(`${description} RFC 3339, UTC.`));
const count = (description: string) => v.pipe(v.number(), v.integer(), v.minValue(0), v.description(description));

const Collector = v.strictObject({
  state: v.picklist(['on', 'off', 'degraded', 'unavailable']),
  source: v.exactOptional(said('Where its events come from: auditUnicast, procPolling, sockDiag …')),
  reason: v.exactOptional(said('Why that is not the best one, and what would mend it.')),
  lastRunAt: v.exactOptional(time('Of a Periodic one: when it ran last.')),
});

export const StatusSchema = v.strictObject({
  version: said('Of the agent.'),
  agentId: v.pipe(v.string(), v.uuid(), v.description('The AgentId of its messages.')),
  state: v.pipe(
    v.picklist(['running', 'degraded', 'paused', 'stopping']),
    v.description(
      'degraded: a collector is degraded or unavailable, desired was refused, the hub refuses the credential, memory is above its budget, files are exposed, or events wait in memory or are about to be dropped.',
    ),
  ),
  startedAt: time('When the agent started.'),
  bootId: v.exactOptional(said('Of the machine; another one after each boot.')),
  configuration: v.strictObject({
    desiredVersion: v.exactOptional(count('$version of the desired properties that were read last.')),
    source: v.picklist(['desired', 'lastKnownGood', 'defaults']),
    errors: v.pipe(
      v.record(v.string(), v.string()),
      v.description('By property: why desired was refused, as a whole. Empty: it was obeyed.'),
    ),
    warnings: v.pipe(v.record(v.string(), v.string()), v.description('By property: obeyed, but hardly meant so.')),
  }),
  collectors: v.strictObject(Object.fromEntries(collectors.map(({ name }) => [name, Collector]))),
  delivery: v.strictObject({
    queued: v.strictObject({
      highEvents: count('Elements that wait in the queue High.'),
      highBytes: count('Their JSON.'),
      lowEvents: count('Elements that wait in the queue Low.'),
      lowBytes: count('Their JSON.'),
    }),
    collected: count('= delivered + aggregatedAway + queued + dropped.'),
    delivered: count('Elements that the hub has acknowledged.'),
    aggregatedAway: count('Occurrences that were counted in an element that stands for several.'),
    dropped: v.strictObject(
      Object.fromEntries(DROP_REASONS.map((reason) => [reason, v.exactOptional(count('Lost for this reason.'))])),
    ),
    messagesSent: count('Since the agent started.'),
    messagesFailed: count('Attempts that failed since then.'),
    lastSentAt: v.exactOptional(time('When the hub acknowledged a message last.')),
    lastError: v.exactOptional(said('What the last failed attempt met.')),
  }),
  store: v.strictObject({
    place: v.pipe(
      v.picklist(['disk', 'memory']),
      v.description('Where new events wait; in memory they are lost if the agent ends.'),
    ),
    reason: v.exactOptional(said('Why it is not the disk.')),
    isNearlyFull: v.pipe(
      v.boolean(),
      v.description('Above 80 % of maxLocalCacheSizeInBytes, until below 70 %: the oldest are dropped soon.'),
    ),
  }),
  credential: v.strictObject({
    kind: said('As identity.kind in the local file.'),
    expiresAt: v.exactOptional(time('When the one in use ends; it is renewed before.')),
  }),
  pause: v.exactOptional(
    v.strictObject({
      until: time('When it ends by itself.'),
      reason: said('As whoever asked for it put it.'),
      skipped: count('What would have been collected.'),
    }),
  ),
  restarts: v.strictObject({
    unclean: count('Runs of the agent that failed or were killed since the last one that was stopped.'),
    since: v.exactOptional(time('When the first of these had begun.')),
    lastEnd: v.exactOptional(
      v.pipe(
        v.picklist(['stopped', 'failed', 'killed', 'poweredOff']),
        v.description(
          'How the last run ended: asked to, giving up with an error, without a word (a crash, kill -9, the watchdog), or with the machine.',
        ),
      ),
    ),
  }),
  exposed: v.exactOptional(
    v.pipe(
      v.strictObject({
        configuration: v.exactOptional(said('Others can write the local configuration.')),
        secrets: v.exactOptional(said('Others can read or write a secret.')),
        state: v.exactOptional(said('Others can write in the state directory.')),
      }),
      v.description('Files that are open to others than the agent and root: which, and what mends it.'),
    ),
  ),
});

/* Does not compile when the type has a member that the schema doesn't have, or the other way round. */
type Declared = v.InferOutput<typeof StatusSchema>;
type Keys<T> = T extends object ? { [K in keyof T]-?: Keys<NonNullable<T[K]>> } : true;
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;
type Loose = 'collectors' | 'delivery'; // which have members by name: those tests hold
export const SAME: Same<Keys<Omit<SecurityAgentStatus, Loose>>, Keys<Omit<Declared, Loose>>> = true;

export const statusSchema = (): string =>
  `${JSON.stringify({ ...toJsonSchema(StatusSchema, { errorMode: 'ignore' }), title: 'securityAgent, in the reported properties of the module twin' }, null, 2)}\n`;
