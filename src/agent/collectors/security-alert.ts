import * as v from 'valibot';
import { defined } from '../../core/base/values.ts';
import { triggered } from '../../core/contract/collector.ts';
import type { Payload } from '../../core/contract/event.ts';
import { EVENTS } from '../../core/contract/events.ts';
import type { AlertRaised } from '../../core/contract/streams.ts';
import { details, extraDetails, integer, oneOf, text } from './fields.ts';

const SEVERITY = {
  critical: 'Critical',
  high: 'High',
  medium: 'Medium',
  low: 'Low',
  informational: 'Informational',
} as const;

/** Fields of the event that the alert is about, with that event's own names. */
const subjectFields = {
  Executable: v.optional(text('Full path of the executable.')),
  CommandLine: v.optional(text('Its arguments, joined by spaces.')),
  ProcessId: v.optional(integer('Process id.')),
  ParentProcessId: v.optional(integer('Process id of the parent.')),
  UserId: v.optional(text('User id, in decimal.')),
  UserName: v.optional(text('Name of the user.')),
  RemoteAddress: v.optional(text('Address of the other end.')),
  RemotePort: v.optional(text('Port of the other end, in decimal.')),
  LocalAddress: v.optional(text('Address of this end.')),
  LocalPort: v.optional(text('Port of this end, in decimal.')),
  Direction: v.optional(text('In or Out.')),
  Protocol: v.optional(text('Protocol.')),
  Operation: v.optional(text('Of a Login: what was done.')),
  Result: v.optional(text('Of a Login: Success or Fail.')),
};

/** An alert of the detections about a suspicious event. */
export const securityAlert = triggered({
  ...EVENTS.SecurityAlert,
  version: '1.0',
  extension: true,
  summary: 'A detection rule matched: a possible attack, with evidence and a remediation.',
  source: "the agent's detections, which evaluate rules for all other events on the device",

  payload: v.strictObject({
    AlertId: text('UUID of the alert; the same in its updates.'),
    AlertType: text('Type of the alert: IoT_… as in the published catalogue, VAKT_… for others.'),
    Severity: oneOf(Object.values(SEVERITY), 'How bad it is if it is an attack.'),
    RuleId: text('Id of the rule that matched.'),
    RuleTitle: text('Title of the rule.'),
    RuleSource: oneOf(['builtin', 'local'], "Whether the rule came with the agent, or from the device's own rules."),
    RuleAuthor: v.optional(text('Author of the rule.')),
    Tactics: v.optional(text('Tactics of MITRE ATT&CK, joined by ";".')),
    Techniques: v.optional(text('Techniques of MITRE ATT&CK, such as T1059.004, joined by ";".')),
    Count: integer('How often the rule has matched since FirstSeenUtc.'),
    FirstSeenUtc: text('Time of the first match, RFC 3339.'),
    LastSeenUtc: text('Time of the last match, RFC 3339.'),
    EventName: text('Name of the event that the alert is about.'),
    EventIds: v.optional(text('Ids of such events, joined by ";"; one that was aggregated or left out is not sent.')),
    ...subjectFields,
    ParentExecutable: v.optional(
      text('Full path of the executable that the parent process ran when it started this one.'),
    ),
    ParentCommandLine: v.optional(text('Its arguments, joined by spaces.')),
    ContainerId: v.optional(text('The container of the process.')),
    Sha256: v.optional(text('SHA-256 of the executable, in hexadecimal.')),
    During: v.optional(
      text('The trusted actor that caused it, such as dpkg; then Severity is one level below that of the rule.'),
    ),
    Selection: v.optional(text('Names of the rule\'s selections that matched, joined by ";".')),
    Remediation: text('What to do about it.'),
    ExtraDetails: extraDetails(
      "Other fields of the event and of its ExtraDetails, by name, and facts about the rule's match. Ancestors: the " +
        'executables of up to three ancestors of the process, the parent first, joined by ";".',
    ),
  }),

  stream: 'alerts',
  translate,
});

function translate({ rule, subject, ...alert }: AlertRaised) {
  const { ContainerId, Sha256, ...rest } = textsIn(subject.ExtraDetails);
  return {
    AlertId: alert.alertId,
    AlertType: alert.alertType,
    Severity: SEVERITY[alert.severity],
    RuleId: rule.id,
    RuleTitle: rule.title,
    RuleSource: rule.source,
    ...defined({
      RuleAuthor: rule.author,
      Tactics: joined(alert.tactics),
      Techniques: joined(alert.techniques),
    }),
    Count: alert.count,
    FirstSeenUtc: alert.firstSeen.toISOString(),
    LastSeenUtc: alert.lastSeen.toISOString(),
    EventName: alert.event,
    ...defined({ EventIds: joined(alert.eventIds) }),
    ...known(subject),
    ...defined({
      ParentExecutable: alert.parentExecutable,
      ParentCommandLine: alert.parentCommandLine,
      ContainerId,
      Sha256,
      During: alert.during,
    }),
    ...defined({ Selection: alert.selection }),
    Remediation: alert.remediation,
    ...details({ ...unknown(subject), ...rest, ...alert.details }),
  };
}

const isField = (name: string): name is keyof typeof subjectFields => Object.hasOwn(subjectFields, name);

/** Fields that the subject and the alert share; other fields of the subject with the same type go to ExtraDetails. */
const known = (subject: Payload): v.InferOutput<v.StrictObjectSchema<typeof subjectFields, undefined>> =>
  Object.fromEntries(
    Object.entries(subject).filter(([name, value]) => isField(name) && v.is(subjectFields[name], value)),
  );

/** Strings and numbers of the subject for which the alert has no field. */
const unknown = (subject: Payload): Record<string, string> =>
  Object.fromEntries(
    Object.entries(subject).flatMap(([name, value]) => {
      if (isField(name) && v.is(subjectFields[name], value)) return [];
      return typeof value === 'object' || value === undefined ? [] : [[name, String(value)]];
    }),
  );

const textsIn = (map: unknown): Readonly<Record<string, string>> =>
  v.is(v.record(v.string(), v.string()), map) ? map : {};

const joined = (texts: readonly string[]): string | undefined => (texts.length === 0 ? undefined : texts.join(';'));
