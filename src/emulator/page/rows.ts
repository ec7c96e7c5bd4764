import { printable } from '../../core/base/text.ts';
import { isPlainObject } from '../../core/base/values.ts';
import { type Sentences, sentencesOf } from '../../core/command-line/describe.ts';
import type { Envelope } from '../../core/contract/event.ts';
import { unitsOf } from '../../core/contract/message.ts';
import { nameOf } from '../identity.ts';
import type { ReceivedMessage } from '../message-log.ts';
import { ALERT_SEVERITIES, type AlertRow, type AlertSeverity, type EventRow, type MessageRow } from './protocol.ts';

/* Turns messages into rows. Messages are untrusted input: anyone with a module's key decides their content. */

/** Maximum number of events of a message that get a row; the raw message has all of them. */
const MAX_EVENTS = 200;

export function rowOf(message: ReceivedMessage): MessageRow {
  const { sequence, enqueuedAt, sizeBytes, duplicate, applicationProperties } = message;
  const events = eventsOf(message.body);
  return {
    sequence,
    at: enqueuedAt.toISOString(),
    module: nameOf(message),
    priority: cut(applicationProperties.MessagePriority ?? '', 20),
    bytes: sizeBytes,
    units: unitsOf(sizeBytes),
    duplicate,
    events: events?.slice(0, MAX_EVENTS).map(eventRow) ?? [foreign(message)],
    left: Math.max(0, (events?.length ?? 0) - MAX_EVENTS),
  };
}

/** The names of the events in a message; empty for a message of another format. */
export const eventNamesOf = ({ body }: ReceivedMessage): readonly string[] =>
  (eventsOf(body) ?? []).map((event) => nameOfEvent(event));

/** The alerts in a message. */
export const alertsOf = (message: ReceivedMessage): readonly AlertRow[] =>
  message.body.includes('"SecurityAlert"')
    ? (eventsOf(message.body) ?? []).flatMap((event) => alertOf(event, message) ?? [])
    : [];

type Event = Readonly<Record<string, unknown>>;

/** @returns `undefined` if the message is not in the agent's format */
function eventsOf(body: string): Event[] | undefined {
  try {
    const parsed: unknown = JSON.parse(body);
    if (!isPlainObject(parsed) || !Array.isArray(parsed.Events)) return undefined;
    return parsed.Events.filter(isPlainObject);
  } catch {
    return undefined;
  }
}

const foreign = ({ body }: ReceivedMessage): EventRow => ({
  name: 'not an event',
  time: '',
  lines: [cut(body, 160)],
  notes: ["This message is not in the agent's format."],
});

const eventRow = (event: Event): EventRow => ({
  name: nameOfEvent(event),
  time: cut(event.TimestampUTC, 40),
  ...sentences(event),
});

const nameOfEvent = ({ Name }: Event) => (typeof Name === 'string' && Name !== '' ? cut(Name, 60) : 'without a name');

function sentences(event: Event): Sentences {
  try {
    // Events of any other form throw, or become text.
    return sentencesOf(event as unknown as Envelope);
  } catch {
    return {
      lines: [cut(JSON.stringify(event), 160)],
      notes: ["This event is not in the agent's format."],
    };
  }
}

function alertOf(event: Event, message: ReceivedMessage): AlertRow | undefined {
  const [alert] = event.Name === 'SecurityAlert' && Array.isArray(event.Payload) ? event.Payload : [];
  if (!isPlainObject(alert)) return undefined;
  const { CommandLine, Executable, UserName, UserId, RemoteAddress, LocalPort } = alert;
  const subject = [CommandLine ?? Executable, UserName ?? UserId, RemoteAddress, LocalPort && `port ${LocalPort}`];
  return {
    id: cut(alert.AlertId, 60),
    module: nameOf(message),
    severity: severityOf(alert.Severity),
    title: cut(alert.RuleTitle, 120),
    type: cut(alert.AlertType, 60),
    count: Number.isSafeInteger(alert.Count) ? Number(alert.Count) : 1,
    firstSeen: cut(alert.FirstSeenUtc, 40),
    lastSeen: cut(alert.LastSeenUtc, 40),
    subject: cut(subject.filter((fact) => typeof fact === 'string' && fact !== '').join(' · '), 400),
    techniques: cut(alert.Techniques, 120).replaceAll(';', ', '),
    remediation: cut(alert.Remediation, 600),
    sequence: message.sequence,
  };
}

/** An unknown severity counts as the most severe, so that the alert does not sink to the end. */
const severityOf = (value: unknown): AlertSeverity => ALERT_SEVERITIES.find((known) => known === value) ?? 'Critical';

/** Safe to display, and at most `max` characters long before invisible ones are escaped. */
function cut(value: unknown, max: number): string {
  const text = typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value);
  return printable(text.length > max ? `${text.slice(0, max - 1)}…` : text);
}
