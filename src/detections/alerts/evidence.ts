import { copied } from '../../base/copied.ts';
import type { Payload } from '../../contract/event.ts';
import { type Hit, levelOf, type Rule } from '../subject.ts';
import type { KeptAlert } from './kept-alert.ts';
import { redactCommandLine } from './secrets/redact.ts';

/** In bytes of UTF-8. */
const LONGEST_COMMAND_LINE = 2_048;
/** In UTF-16 units. What is behind is looked at by rules only: redacting 128 KiB could take 40 ms. */
const LONGEST_REDACTED = 16_384;
const LONGEST_VALUE = 512;
const MAX_VALUES = 40;
const MAX_IDS = 16;
const MAX_ANCESTORS = 3;

/** What an alert says of a hit: everything but its id, count and times. */
export type Evidence = Omit<KeptAlert, 'alertId' | 'count' | 'first' | 'last'>;

/** @param redact whether what looks like a secret is replaced in command lines */
export function evidenceOf(hit: Hit, alertType: string, { redact }: { redact: boolean }): Evidence {
  const { rule, subject, view } = hit;
  const shortened = new Map<string, number>();
  const commandLine = (name: string, text: string): string => {
    const bytes = Buffer.byteLength(text);
    if (bytes > LONGEST_COMMAND_LINE) shortened.set(name, bytes);
    // Redacted before it is cut: the name of a secret can be in the part that is left out.
    const head = text.slice(0, LONGEST_REDACTED);
    return cut(redact ? redactCommandLine(head) : head, LONGEST_COMMAND_LINE);
  };
  const of = (name: string, value: string): string =>
    name.endsWith('CommandLine') ? commandLine(name, value) : cut(value, LONGEST_VALUE);

  const values = flattened(subject.event.payload).slice(0, MAX_VALUES);
  const payload = Object.fromEntries(
    values.map(([name, value]) => [name, typeof value === 'string' ? of(name, value) : value] as const),
  );
  const { ParentImage, ParentCommandLine } = subject.fields;
  const parentCommandLine =
    ParentCommandLine === undefined ? {} : { parentCommandLine: commandLine('ParentCommandLine', ParentCommandLine) };
  const ancestors = (hit.ancestors ?? []).slice(0, MAX_ANCESTORS);
  const isOtherView = view !== undefined && view.CommandLine !== subject.fields.CommandLine;
  const matched = isOtherView ? { MatchedCommandLine: commandLine('MatchedCommandLine', view.CommandLine) } : {};
  return {
    alertType,
    severity: levelOf(hit),
    ...ruleFacts(rule),
    event: subject.event.name,
    eventIds: (hit.ids ?? subject.event.ids).slice(-MAX_IDS),
    subject: payload,
    ...(ParentImage === undefined ? {} : { parentExecutable: cut(ParentImage, LONGEST_VALUE) }),
    ...parentCommandLine,
    ...(hit.during === undefined ? {} : { during: hit.during }),
    details: {
      ...matched,
      ...(ancestors.length === 0 ? {} : { Ancestors: cut(ancestors.join(';'), LONGEST_VALUE) }),
      ...(hit.count === undefined ? {} : { CorrelatedEvents: String(hit.count) }),
      ...(hit.cut === true ? { JudgedInPart: 'true' } : {}),
      ...(shortened.size === 0
        ? {}
        : { ShortenedField: [...shortened.keys()].join(';'), OriginalBytes: [...shortened.values()].join(';') }),
    },
  };
}

function ruleFacts(rule: Rule) {
  const attack = rule.tags.filter((tag) => tag.startsWith('attack.')).map((tag) => tag.slice('attack.'.length));
  const isTechnique = (tag: string) => /^t\d{4}(\.\d{3})?$/.test(tag);
  return {
    ruleId: cut(rule.id, LONGEST_VALUE),
    ruleTitle: cut(rule.title, LONGEST_VALUE),
    ruleSource: rule.origin,
    ...(rule.author === undefined ? {} : { ruleAuthor: cut(rule.author, LONGEST_VALUE) }),
    // Software and groups (s0001, g0001) are neither.
    tactics: attack.filter((tag) => !/^[a-z]\d/.test(tag)).slice(0, MAX_IDS),
    techniques: attack
      .filter(isTechnique)
      .map((tag) => tag.toUpperCase())
      .slice(0, MAX_IDS),
    remediation: cut(rule.remediation ?? 'Find out who did this, and whether it was meant.', LONGEST_VALUE * 2),
  };
}

type Value = string | number | boolean;

/** Fields of the payload and of its ExtraDetails, whose texts the alert shows under the same names. */
function flattened({ ExtraDetails, ...fields }: Payload): [string, Value][] {
  const isValue = (entry: [string, unknown]): entry is [string, Value] =>
    ['string', 'number', 'boolean'].includes(typeof entry[1]);
  return Object.entries({ ...((ExtraDetails ?? {}) as object), ...fields }).filter(isValue);
}

/** A copy of at most so many bytes of UTF-8, and of whole characters. */
function cut(text: string, bytes: number): string {
  if (text.length * 3 <= bytes) return copied(text);
  const encoded = Buffer.from(text);
  if (encoded.length <= bytes) return copied(text);
  let end = bytes;
  // Not within a character: bytes after the first one begin with the bits 10.
  while (end > 0 && ((encoded[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return encoded.toString('utf8', 0, end);
}
