import * as v from 'valibot';
import { DROP_REASONS, type DropReason } from '../../core/base/counters.ts';
import { ALERT_LEVELS, type AlertLevel } from '../../core/contract/event.ts';
import { collectors } from '../collectors/index.ts';
import { SUPPRESSED_BY, type SuppressedBy } from '../detections/alerts/policy.ts';
import { RECOMMENDATION_IDS, type RecommendationId, SEVERITIES } from '../posture/recommendation.ts';

/* The schema of the status. Its types are inferred from it, the JSON Schema is generated from it, and tests check reported
 * documents against it. */

/** An object with a description. */
const about = <E extends v.ObjectEntries>(description: string, entries: E) =>
  v.pipe(v.strictObject(entries), v.description(description));
const text = (description: string) => v.pipe(v.string(), v.description(description));
const time = (description: string) =>
  v.pipe(v.string(), v.isoTimestamp(), v.description(`${description} RFC 3339, UTC.`));
const count = (description: string) => v.pipe(v.number(), v.integer(), v.minValue(0), v.description(description));

const Collector = v.strictObject({
  state: v.picklist(['on', 'off', 'degraded', 'unavailable']),
  source: v.exactOptional(text('Source of its events: auditUnicast, procPolling, sockDiag …')),
  reason: v.exactOptional(text('Why the source is not the best one, and how to fix it.')),
  lastRunAt: v.exactOptional(time('Periodic events: time of the last snapshot.')),
});

const Alerts = count('Alerts of this severity since the agent started, updates not counted.');
const Suppressed = v.exactOptional(count('Matches that made no alert for this reason, since the agent started.'));

const Detections = about('Detection rules and their alerts.', {
  state: v.pipe(
    v.picklist(['on', 'off', 'degraded']),
    v.description('off: switched off by the module twin or the local file. degraded: a part is missing, see reason.'),
  ),
  reason: v.exactOptional(text('What is missing, and how to fix it.')),
  rules: v.strictObject({
    loaded: count('Rules that were loaded.'),
    refused: count("Files of the device's own rules that were refused."),
    off: v.pipe(v.record(v.string(), count('')), v.description('By reason: how many of the loaded rules are off.')),
  }),
  ruleSetHash: text('SHA-256 of the rules that were loaded.'),
  ownRulesHash: v.exactOptional(text("SHA-256 of the device's own rules: `cat *.yml | sha256sum` in their folder.")),
  alerts: v.strictObject(
    Object.fromEntries(ALERT_LEVELS.map((level) => [level, Alerts])) as Record<AlertLevel, typeof Alerts>,
  ),
  counted: count('Further matches that an alert counts, since the agent started.'),
  suppressed: v.strictObject(
    Object.fromEntries(SUPPRESSED_BY.map((reason) => [reason, Suppressed])) as Record<SuppressedBy, typeof Suppressed>,
  ),
  last: v.exactOptional(
    about('The last alert.', {
      type: text('Its type.'),
      severity: v.picklist(ALERT_LEVELS),
      at: time('When it was raised or last updated.'),
    }),
  ),
  latest: v.exactOptional(
    v.pipe(
      v.record(
        v.string(),
        v.strictObject({
          rule: text('Title of the rule.'),
          user: text('User id, and name if known; "none" if the alert is about no user.'),
          time: time('When the rule last matched.'),
        }),
      ),
      v.description(
        'The latest ten alerts of level high or critical, by position from the newest; present while alerts are held for lack of message units.',
      ),
    ),
  ),
  silencedUntil: v.exactOptional(text('Present while no alerts are made; RFC 3339, as the module twin has it.')),
  exceptions: v.exactOptional(
    v.pipe(v.record(v.string(), count('')), v.description('By id: how often each exception has matched.')),
  ),
  unusedExceptions: v.exactOptional(
    text('Exceptions that have expired or matched nothing for 90 days, joined by ";".'),
  ),
});

const Lost = v.exactOptional(count('Number of occurrences dropped for this reason.'));

/** The accounts: collected occurrences by outcome. */
const totals = {
  collected: count('Occurrences collected = delivered + aggregatedAway + queued + dropped.'),
  delivered: count('Elements that the hub has acknowledged.'),
  aggregatedAway: count('Occurrences that were merged into an aggregated element.'),
  dropped: v.strictObject(
    Object.fromEntries(DROP_REASONS.map((reason) => [reason, Lost])) as Record<DropReason, typeof Lost>,
  ),
};

const Direction = (packets: string) =>
  v.pipe(
    v.picklist(['deny', 'allow', 'none', 'unknown']),
    v.description(
      `What happens to ${packets} that no rule mentions. none: nothing filters them, so they pass. unknown: the rules could not be read, or a program decides.`,
    ),
  );

const Recommendation = v.strictObject({
  severity: v.picklist(SEVERITIES),
  count: count('Number of things found.'),
  since: time('When the agent first found reason for it; kept over restarts.'),
  reason: v.exactOptional(text('Why it cannot be evaluated now; it is kept, with the last severity and count.')),
});

/** An object with a member for each id of a recommendation, all optional. */
const byRecommendation = <S extends v.GenericSchema>(schema: S) =>
  Object.fromEntries(RECOMMENDATION_IDS.map((id) => [id, v.exactOptional(schema)])) as Record<
    RecommendationId,
    v.ExactOptionalSchema<S, undefined>
  >;

/** `securityAgent` in the reported properties. */
export const StatusSchema = v.strictObject({
  version: text("The agent's version."),
  agentId: v.pipe(v.string(), v.uuid(), v.description("The agent's id, AgentId in its messages.")),
  state: v.pipe(
    v.picklist(['running', 'degraded', 'paused', 'stopping']),
    v.description(
      'degraded: a collector or the detections are degraded, or a collector is unavailable; the desired configuration was refused, or switches off or delays what the local file does not allow; messages are held because the message units are used up, or events wait because their user has used its share of them; the credential is refused, cannot be renewed, or expires soon; memory is above its budget; files are exposed; events are queued in memory only or will soon be dropped; or files of state cannot be saved.',
    ),
  ),
  startedAt: time('When the agent started.'),
  bootId: v.exactOptional(text("The machine's boot id, which changes with each boot.")),
  configuration: about('The configuration in force, and the problems of the desired one.', {
    desiredVersion: v.exactOptional(count('$version of the desired properties that were read last.')),
    source: v.picklist(['desired', 'lastKnownGood', 'defaults']),
    errors: v.pipe(
      v.record(v.string(), v.string()),
      v.description('Errors by property. The desired configuration is applied if empty, else refused as a whole.'),
    ),
    warnings: v.pipe(
      v.record(v.string(), v.string()),
      v.description(
        'Warnings by property: the value is probably not what was meant, the property is unknown to this agent (of the local file: `localFile`), a local limit overrides the value, or the value makes the agent degraded.',
      ),
    ),
    switchedOff: v.exactOptional(
      v.pipe(
        v.record(v.string(), v.string()),
        v.description('By event: the setting in the module twin that switches it off; absent if all events are on.'),
      ),
    ),
  }),
  collectors: about(
    'State of the collector of each event.',
    Object.fromEntries(collectors.map(({ name }) => [name, Collector])),
  ),
  delivery: about('Outcome of the collected occurrences, and messages sent.', {
    queued: v.strictObject({
      highEvents: count('Elements in the queue High.'),
      highBytes: count('Size of these elements as JSON.'),
      lowEvents: count('Elements in the queue Low.'),
      lowBytes: count('Size of these elements as JSON.'),
    }),
    ...totals,
    messagesSent: count('Messages sent since the agent started.'),
    messagesFailed: count('Send attempts that failed since the agent started.'),
    lastSentAt: v.exactOptional(time('Time of the last acknowledgement of a message.')),
    lastError: v.exactOptional(text('Error of the last failed attempt.')),
    chain: v.exactOptional(
      text('Id of the chain of messages, their property Chain; another one after the state of the agent was lost.'),
    ),
    markedChain: v.exactOptional(text('The same, of the messages that are marked for the security service.')),
    unitsToday: v.exactOptional(
      count('Units of 4 KB used by messages in this UTC day, as the hub bills them, including repeated messages.'),
    ),
    unitsPerDay: v.exactOptional(count('Limit for unitsToday, limits.messageUnitsPerDay; 0: no limit.')),
    mostUsedBy: v.exactOptional(text('The user that used most of unitsToday, "user 2001", or "containers".')),
    mostUnits: v.exactOptional(count('Units used by this user today.')),
    overShare: v.exactOptional(
      text('Present while Low events of a user wait because the user has used its share of the units: "user 2001".'),
    ),
    heldEvents: v.exactOptional(count('Elements in the queues that are held.')),
    held: v.exactOptional(
      about('Present while messages are held because the units that are available so far are used up.', {
        queues: text(
          'What is held: "Low", "High, Low", or "High, Low, alerts" if the reserve for alerts is used up, too.',
        ),
        until: time('When units will be available again.'),
        reason: text('Why messages are held, and how to fix it.'),
      }),
    ),
  }),
  store: about('State of the event store.', {
    place: v.pipe(
      v.picklist(['disk', 'memory']),
      v.description('Where new events are stored. Events in memory are lost if the agent ends.'),
    ),
    reason: v.exactOptional(text('Why new events are not stored on disk.')),
    unsaved: v.exactOptional(
      text(
        'Files of state that could not be saved, with the reason, joined by ";"; present until they are saved. A restart uses their last saved contents.',
      ),
    ),
    isNearlyFull: v.pipe(
      v.boolean(),
      v.description(
        'True from 80 % of the cache size in force until below 70 %, and when events of a queue were dropped for want of space until the next are delivered.',
      ),
    ),
  }),
  credential: about('The credential that the agent connects with.', {
    kind: text('identity.kind of the local file.'),
    expiresAt: v.exactOptional(
      time(
        "Expiry of the credential in use, or of the device's certificate once that expires soon; a token is renewed before.",
      ),
    ),
    expiresSoon: v.exactOptional(
      v.pipe(
        v.boolean(),
        v.description(
          'It expires soon and was not renewed: a certificate in the last quarter of its life, at most 30 days, a token in its last 10 minutes.',
        ),
      ),
    ),
    hub: v.exactOptional(text('The hub of the latest connection, or of the latest attempt while there was none.')),
    transport: v.exactOptional(
      v.pipe(
        v.picklist(['mqtt', 'mqttWebSocket']),
        v.description('Protocol of that connection: MQTT on port 8883, or MQTT over WebSocket on port 443.'),
      ),
    ),
    proxy: v.exactOptional(text('The proxy on the way to the hub, `host:port`.')),
    source: v.exactOptional(text('Which credential was used, of several: `primary`, `secondary`, …')),
    error: v.exactOptional(
      about('Why the credential is refused, or cannot be used or renewed. The connection may still be open.', {
        code: text('Area of the error.'),
        reason: text('What went wrong there.'),
        id: text('Id of the error, as in the log.'),
      }),
    ),
  }),
  pause: v.exactOptional(
    about('Present while collecting is paused.', {
      until: time('When the pause ends by itself.'),
      reason: text('Reason given by the caller of the method pause.'),
      skipped: count('Number of events skipped so far.'),
    }),
  ),
  restarts: about('How earlier runs of the agent ended.', {
    unclean: count('Runs of the agent that failed or were killed since the last one that was stopped.'),
    since: v.exactOptional(time('Start of the first of these runs.')),
    lastEnd: v.exactOptional(
      v.pipe(
        v.picklist(['stopped', 'failed', 'killed', 'poweredOff']),
        v.description(
          'How the last run ended. stopped: on request. failed: with an error. killed: by a crash, kill -9 or the watchdog. poweredOff: with the machine.',
        ),
      ),
    ),
  }),
  exposed: v.exactOptional(
    about('Files that users other than root and the agent can access, and how to fix it.', {
      configuration: v.exactOptional(text('Other users can write the local configuration.')),
      secrets: v.exactOptional(text('Other users can read or write a secret.')),
      state: v.exactOptional(text('Other users can write to the state directory.')),
    }),
  ),
  detections: v.exactOptional(Detections),
  posture: about('State of the system in the latest snapshots.', {
    baseline: v.exactOptional(
      about('Results of the hardening rules, and all exceptions.', {
        passed: count('Rules that pass.'),
        failed: count('Rules that fail.'),
        failedBySeverity: v.strictObject({
          critical: count('Failed rules of severity Critical.'),
          important: count('Failed rules of severity Important.'),
          warning: count('Failed rules of severity Warning.'),
          informational: count('Failed rules of severity Informational.'),
        }),
        errors: count('Rules that could not be evaluated.'),
        skipped: count('Rules that do not apply, are excepted, or are opt-in.'),
        ruleSet: text('Version of the default rules.'),
        ruleSetHash: text('SHA-256 of the files of the default rules.'),
        durationMs: count('Duration of the scan, in milliseconds.'),
        scannedAt: time('When the scan began.'),
        groupsDisabled: v.exactOptional(text('Categories that are disabled, joined by ",".')),
        checksDisabled: v.exactOptional(text('Rules that are disabled, joined by ",".')),
        roles: v.exactOptional(text('Declared roles of the device; some rules do not apply to a role.')),
        customChecks: v.picklist(['off', 'on', 'refused']),
        customChecksHash: v.exactOptional(text('Required SHA-256 of the file of custom rules.')),
        customChecksReason: v.exactOptional(text('Why the custom rules are refused.')),
        limits: v.exactOptional(text('What the scan could not access, and how to grant access.')),
      }),
    ),
    listeningPorts: v.exactOptional(count('Number of open ports.')),
    exposure: v.exactOptional(
      about('What can be reached from outside; absent while unknown.', {
        openPorts: count('Number of ports that are open at an address other than loopback.'),
        ports: text('`22/tcp (sshd), 8000-8009/tcp (node)`: the most important ones, at most 1 KB.'),
      }),
    ),
    firewall: v.exactOptional(
      about('The packet filter, IPv4 and IPv6 together: the one that denies less decides.', {
        inbound: Direction('new packets to this device'),
        forward: Direction('new packets that this device forwards'),
        outbound: Direction('new packets from this device'),
        permissiveRules: v.exactOptional(
          count('Rules that allow packets from anywhere to any port, or to 1024 ports and more.'),
        ),
      }),
    ),
    accounts: v.exactOptional(
      about('Who can log in; absent while unknown.', {
        withoutPassword: v.exactOptional(
          count('Accounts that need no password; absent while the shadow file cannot be read.'),
        ),
        uidZero: count('Accounts with user id 0.'),
        humans: count('Accounts with an ordinary user id and a shell to log in with.'),
      }),
    ),
    recommendations: v.exactOptional(
      about(
        'What to do, by id: "vakt posture" describes each. One without reason is absent.',
        byRecommendation(Recommendation),
      ),
    ),
    notJudged: v.exactOptional(
      about('Why other recommendations cannot be evaluated, by id.', byRecommendation(v.string())),
    ),
  }),
});

const EventAccountSchema = v.strictObject({ ...totals, queued: count('Elements in the queues.') });

/** The status with the members that only `vakt status` and getStatus show. */
export const LocalStatusSchema = v.strictObject({
  ...StatusSchema.entries,
  pid: count("The agent's process id in its own PID namespace."),
  localFileHash: text(
    'SHA-256 of the local file at the start of the agent, as `sha256sum` prints it; empty without such a file.',
  ),
  hub: about('The connection to the hub.', {
    state: v.picklist(['connecting', 'connected', 'refused', 'stopped']),
    error: v.exactOptional(text('Why the agent is not connected.')),
    id: v.exactOptional(text('Id of that error, as in the log.')),
    remedy: v.exactOptional(text('How to fix the error.')),
    renewalError: v.exactOptional(
      text('Why no new connection can be made, while the current one is open: credential.error in words.'),
    ),
    renewalRemedy: v.exactOptional(text('How to fix renewalError.')),
    copies: v.exactOptional(
      v.pipe(
        v.record(v.string(), v.string()),
        v.description(
          'By file of a secret or certificate: the copy that systemd made of it at the start, which is used instead; absent if there is none.',
        ),
      ),
    ),
  }),
  events: v.pipe(v.record(v.string(), EventAccountSchema), v.description('Accounts by event, over both queues.')),
  queues: about('Accounts by queue.', { High: EventAccountSchema, Low: EventAccountSchema }),
  messages: about('Messages sent since the agent started.', {
    sent: count('Messages sent.'),
    under4KB: count('Messages sent of fewer than 4096 bytes.'),
    failed: count('Send attempts that failed.'),
  }),
  memory: about('Memory that the agent uses.', {
    residentBytes: count('Memory of the agent excluding pages of program files.'),
    budgetBytes: count('Memory budget of the agent.'),
    isOver: v.pipe(v.boolean(), v.description('Memory is above the budget; events of priority Low are dropped.')),
  }),
  logLevel: v.exactOptional(
    about("Present while the log level is not the local file's.", {
      level: text('The level in force now.'),
      until: time('When that level ends.'),
      afterwards: text('The level in force after that.'),
    }),
  ),
  next: v.exactOptional(
    about('When each queue is sent next; absent while the agent is not connected.', {
      highAt: time('Queue High.'),
      lowAt: time('Queue Low.'),
    }),
  ),
  routing: v.exactOptional(v.picklist(['security', 'telemetry', 'both'])),
  heldUp: v.exactOptional(
    about('The last stall of the whole agent; shown for an hour.', {
      seconds: count('Minimum duration of the stall, in seconds.'),
      at: time('End of the stall.'),
      why: text('What is known about the cause.'),
    }),
  ),
});

type DeepReadonly<T> = T extends object ? { readonly [K in keyof T]: DeepReadonly<T[K]> } : T;

/** `securityAgent` of the reported properties (contract §2). Unknown members are absent; a twin allows no arrays. */
export type SecurityAgentStatus = DeepReadonly<v.InferOutput<typeof StatusSchema>>;
/** The status that `vakt status` and getStatus show. */
export type LocalStatus = DeepReadonly<v.InferOutput<typeof LocalStatusSchema>>;
/** The accounts of all events: `collected` = `delivered` + `aggregatedAway` + `queued` + `dropped`. */
export type Delivery = SecurityAgentStatus['delivery'];
/** What the detections say (contract §2). */
export type DetectionsStatus = DeepReadonly<v.InferOutput<typeof Detections>>;
export type Posture = SecurityAgentStatus['posture'];
/** The state of one collector (contract §2). */
export type CollectorStatus = DeepReadonly<v.InferOutput<typeof Collector>>;
export type EventAccount = DeepReadonly<v.InferOutput<typeof EventAccountSchema>>;
