import * as v from 'valibot';
import { DROP_REASONS, type DropReason } from '../base/counters.ts';
import { collectors } from '../collectors/index.ts';

/* What the status looks like, once: the types that the agent reports by are inferred from the schema that others read, and
 * tests hold what is reported against it. */

/** A group of members, and what they are about. */
const about = <E extends v.ObjectEntries>(description: string, entries: E) =>
  v.pipe(v.strictObject(entries), v.description(description));
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

const Lost = v.exactOptional(count('Lost for this reason.'));

/** The books: what became of everything that was collected. */
const totals = {
  collected: count('= delivered + aggregatedAway + queued + dropped.'),
  delivered: count('Elements that the hub has acknowledged.'),
  aggregatedAway: count('Occurrences that were counted in an element that stands for several.'),
  dropped: v.strictObject(
    Object.fromEntries(DROP_REASONS.map((reason) => [reason, Lost])) as Record<DropReason, typeof Lost>,
  ),
};

/** `securityAgent` in the reported properties. */
export const StatusSchema = v.strictObject({
  version: said('Of the agent.'),
  agentId: v.pipe(v.string(), v.uuid(), v.description('The AgentId of its messages.')),
  state: v.pipe(
    v.picklist(['running', 'degraded', 'paused', 'stopping']),
    v.description(
      'degraded: a collector is degraded or unavailable, desired was refused, it switches off or delays what limits in the local file do not allow for, messages are held since the daily units are used up, the hub refuses the credential or that ends soon, memory is above its budget, files are exposed, or events wait in memory or are about to be dropped.',
    ),
  ),
  startedAt: time('When the agent started.'),
  bootId: v.exactOptional(said('Of the machine; another one after each boot.')),
  configuration: about("The twin's configuration: which one is in force, and what is wrong with the desired one.", {
    desiredVersion: v.exactOptional(count('$version of the desired properties that were read last.')),
    source: v.picklist(['desired', 'lastKnownGood', 'defaults']),
    errors: v.pipe(
      v.record(v.string(), v.string()),
      v.description('By property: why desired was refused, as a whole. Empty: it was obeyed.'),
    ),
    warnings: v.pipe(
      v.record(v.string(), v.string()),
      v.description(
        'By property: obeyed, but hardly meant so; not known to this agent; another value is in force by a local limit; or why the agent is degraded for it.',
      ),
    ),
    switchedOff: v.exactOptional(
      v.pipe(
        v.record(v.string(), v.string()),
        v.description('By event: what in the module twin switches it off; absent when all are on.'),
      ),
    ),
  }),
  collectors: about(
    'How each event is collected.',
    Object.fromEntries(collectors.map(({ name }) => [name, Collector])),
  ),
  delivery: about('What became of what was collected.', {
    queued: v.strictObject({
      highEvents: count('Elements that wait in the queue High.'),
      highBytes: count('Their JSON.'),
      lowEvents: count('Elements that wait in the queue Low.'),
      lowBytes: count('Their JSON.'),
    }),
    ...totals,
    messagesSent: count('Since the agent started.'),
    messagesFailed: count('Attempts that failed since then.'),
    lastSentAt: v.exactOptional(time('When the hub acknowledged a message last.')),
    lastError: v.exactOptional(said('What the last failed attempt met.')),
    unitsToday: v.exactOptional(
      count('Units of 4 KB, as the hub bills them, that messages have taken in this UTC day, repeats included.'),
    ),
    unitsPerDay: v.exactOptional(count('What they may take, limits.messageUnitsPerDay; 0: no limit.')),
    heldEvents: v.exactOptional(count('Elements that wait in the queues that are held.')),
    held: v.exactOptional(
      about('While the daily units are used up.', {
        queues: said('Low, or High, Low.'),
        until: time('When the next UTC day begins, which has units of its own.'),
        reason: said('Why, and what would mend it.'),
      }),
    ),
  }),
  store: about('Where events wait.', {
    place: v.pipe(
      v.picklist(['disk', 'memory']),
      v.description('Where new events wait; in memory they are lost if the agent ends.'),
    ),
    reason: v.exactOptional(said('Why it is not the disk.')),
    isNearlyFull: v.pipe(
      v.boolean(),
      v.description('Above 80 % of the cache size in force, until below 70 %: the oldest events are dropped soon.'),
    ),
  }),
  credential: about('What the agent proves itself with.', {
    kind: said('As identity.kind in the local file.'),
    expiresAt: v.exactOptional(time('When the one in use ends; a token is renewed before.')),
    expiresSoon: v.exactOptional(
      v.pipe(
        v.boolean(),
        v.description('It ends soon and was not renewed: a certificate within 30 days, a token within 10 minutes.'),
      ),
    ),
  }),
  pause: v.exactOptional(
    about('While collecting is paused.', {
      until: time('When it ends by itself.'),
      reason: said('As whoever asked for it put it.'),
      skipped: count('What would have been collected.'),
    }),
  ),
  restarts: about('How earlier runs of the agent ended.', {
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
    about('Files that are open to others than the agent and root: which, and what mends it.', {
      configuration: v.exactOptional(said('Others can write the local configuration.')),
      secrets: v.exactOptional(said('Others can read or write a secret.')),
      state: v.exactOptional(said('Others can write in the state directory.')),
    }),
  ),
  posture: about('How the system stands, as the last snapshots of it say.', {
    baseline: v.exactOptional(
      about('What the hardening rules found, and every exception from them.', {
        passed: count('Rules that hold.'),
        failed: count('Rules that do not.'),
        failedBySeverity: v.strictObject({
          critical: count('Of those.'),
          important: count('Of those.'),
          warning: count('Of those.'),
          informational: count('Of those.'),
        }),
        errors: count('Rules that could not be judged.'),
        skipped: count('Rules that do not apply, are excepted, or are opt-in.'),
        ruleSet: said('Version of the default rules.'),
        ruleSetHash: said('SHA-256 of their files.'),
        durationMs: count('How long that took.'),
        scannedAt: time('When it began.'),
        groupsDisabled: v.exactOptional(said('Categories that were not judged, joined with ",".')),
        checksDisabled: v.exactOptional(said('Rules that were not judged.')),
        roles: v.exactOptional(said('Roles that the device is declared to have; some rules do not hold for them.')),
        customChecks: v.picklist(['off', 'on', 'refused']),
        customChecksHash: v.exactOptional(said('SHA-256 that their file must have.')),
        customChecksReason: v.exactOptional(said('Why they are refused.')),
        limits: v.exactOptional(said('What the scan as a whole could not see, and what would grant it.')),
      }),
    ),
    listeningPorts: v.exactOptional(count('Sockets that wait for others.')),
  }),
});

const BooksSchema = v.strictObject({ ...totals, queued: count('Elements that wait.') });

/** The same, with what only `vakt status` and getStatus show. */
export const LocalStatusSchema = v.strictObject({
  ...StatusSchema.entries,
  pid: count('Of the agent, as itself sees it.'),
  hub: about('The connection to the hub.', {
    state: v.picklist(['connecting', 'connected', 'refused', 'stopped']),
    error: v.exactOptional(said('What keeps it from being connected.')),
    remedy: v.exactOptional(said('What would mend that.')),
  }),
  events: v.pipe(v.record(v.string(), BooksSchema), v.description('The books by event, both queues together.')),
  queues: about('The books by queue.', { High: BooksSchema, Low: BooksSchema }),
  messages: about('What was sent.', {
    sent: count('Since the agent started.'),
    under4KB: count('Of them, those of less than 4096 bytes.'),
    failed: count('Attempts that failed since then.'),
  }),
  memory: about('The memory that the agent takes.', {
    residentBytes: count('What the agent takes.'),
    budgetBytes: count('What it may take.'),
    isOver: v.pipe(v.boolean(), v.description('Events of priority Low are left out for it.')),
  }),
  logLevel: v.exactOptional(
    about("Of the log, while it is not the local file's.", {
      level: said('In force now.'),
      until: time('When that ends.'),
      afterwards: said('In force then.'),
    }),
  ),
  next: v.exactOptional(
    about("When each queue's turn to be sent comes; absent while the hub is out of reach.", {
      highAt: time('Of the queue High.'),
      lowAt: time('Of the queue Low.'),
    }),
  ),
  routing: v.exactOptional(v.picklist(['security', 'telemetry', 'both'])),
  heldUp: v.exactOptional(
    about('The last time that the whole agent stood still, for an hour.', {
      seconds: count('How long, at least.'),
      at: time('When it ended.'),
      why: said('What is known of it.'),
    }),
  ),
});

type DeepReadonly<T> = T extends object ? { readonly [K in keyof T]: DeepReadonly<T[K]> } : T;

/** The `securityAgent` member of the reported properties (contract §2). Absent is what isn't known; no arrays. */
export type SecurityAgentStatus = DeepReadonly<v.InferOutput<typeof StatusSchema>>;
/** What `vakt status` shows: the same, and what the hub cannot be told while it is out of reach. */
export type LocalStatus = DeepReadonly<v.InferOutput<typeof LocalStatusSchema>>;
/** What has become of the events. `collected` = `delivered` + `aggregatedAway` + what is queued + what was dropped. */
export type Delivery = SecurityAgentStatus['delivery'];
export type Posture = SecurityAgentStatus['posture'];
/** How one collector stands (contract §2). */
export type CollectorStatus = DeepReadonly<v.InferOutput<typeof Collector>>;
export type Books = DeepReadonly<v.InferOutput<typeof BooksSchema>>;
