import { copied } from '../../../core/base/values.ts';
import type { Payload } from '../../../core/contract/event.ts';
import { type Hit, levelOf } from '../subject.ts';
import { cutEncoded, encodedBytes, fitted } from './fit.ts';
import type { Evidence } from './kept-alert.ts';
import { redactCommandLine } from './secrets/redact.ts';
import { plainLine } from './start-chains.ts';

/** Number of different names and values that are listed. */
const MAX_LISTED = 24;
/** In bytes of JSON. */
const LONGEST_COMMAND = 256;
const LONGEST_GROUP = 512;

const URL = /\b(?:https?|ftp|tftp):\/\/[^\s"'<>|;&)]{1,256}/i;

/**
 * The evidence of a correlation's events: the commands in order, one per line; the first URL in them; and the number of events
 * per address.
 *
 * @param shown redacts a command line
 */
export function sequenceDetails(
  { count, events = [], group = [] }: Hit,
  shown: (commandLine: string) => string,
): Readonly<Record<string, string>> {
  if (count === undefined) return {};
  const commands = new Set<string>();
  const addresses = new Map<string, number>();
  for (const { source, summary, count: times } of events) {
    if (summary === '') continue;
    if (source === 'process_creation') commands.add(shown(summary).replace(/\s+/g, ' '));
    else addresses.set(summary, (addresses.get(summary) ?? 0) + times);
  }
  const url = [...commands].map((command) => URL.exec(command)?.[0]).find((each) => each !== undefined);
  const lines = [...commands].slice(0, MAX_LISTED).map((command) => cutEncoded(command, LONGEST_COMMAND));
  const most = [...addresses].sort(([, a], [, b]) => b - a).slice(0, MAX_LISTED);
  const shared = group.map(({ name, value }) => `${name}=${value}`).join(';');
  return {
    CorrelatedEvents: String(count),
    ...(shared === '' ? {} : { CorrelatedBy: cutEncoded(shared, LONGEST_GROUP) }),
    ...(lines.length === 0 ? {} : { Commands: lines.join('\n') }),
    ...(url === undefined ? {} : { Url: url }),
    ...(most.length === 0 ? {} : { Addresses: most.map(([address, times]) => `${address} (${times})`).join(';') }),
  };
}

/** In bytes of JSON, like the other lengths of strings below. */
const LONGEST_COMMAND_LINE = 2_048;
/** In UTF-16 units. Only rules see the remainder: redacting 128 KiB could take 40 ms. */
const LONGEST_REDACTED = 16_384;
const LONGEST_VALUE = 512;
const LONGEST_NAME = 256;
/** In UTF-16 units. A command line of at most this length is shown completely, so the matched part need not be repeated. */
const SHORT_LINE = 1_024;
const LONGEST_TAG = 32;
const MAX_VALUES = 40;
const MAX_IDS = 16;
const MAX_ANCESTORS = 3;

/** @param redact whether probable secrets in command lines are redacted */
export function evidenceOf(hit: Hit, alertType: string, { redact }: { redact: boolean }): Evidence {
  const { subject, view } = hit;
  const shortened = new Map<string, number>();
  const commandLine = (name: string, text: string): string => {
    // Redacted before truncation, because the truncated part can contain the name of a secret.
    const head = text.slice(0, LONGEST_REDACTED);
    const shown = redact ? redactCommandLine(head) : head;
    if (text.length > head.length || encodedBytes(shown) > LONGEST_COMMAND_LINE)
      shortened.set(name, Buffer.byteLength(text));
    return cut(shown, LONGEST_COMMAND_LINE);
  };
  const of = (name: string, value: string): string => {
    if (name.endsWith('CommandLine')) return commandLine(name, value);
    return cut(value, name === 'UserName' ? LONGEST_NAME : LONGEST_VALUE);
  };

  const values = flattened(subject.event.payload).slice(0, MAX_VALUES);
  const payload = Object.fromEntries(
    values.map(([name, value]) => [name, typeof value === 'string' ? of(name, value) : value] as const),
  );
  const { ParentImage, ParentCommandLine, CommandLine = '' } = subject.fields;
  const parentCommandLine =
    ParentCommandLine === undefined ? {} : { parentCommandLine: commandLine('ParentCommandLine', ParentCommandLine) };
  const ancestors = (hit.ancestors ?? []).slice(0, MAX_ANCESTORS);
  const isOtherView = view !== undefined && !isShownBy(CommandLine, view.CommandLine);
  const matched = isOtherView ? { MatchedCommandLine: commandLine('MatchedCommandLine', view.CommandLine) } : {};
  return fitted({
    alertType,
    severity: levelOf(hit),
    ...ruleFacts(hit),
    event: subject.event.name,
    eventIds: (hit.ids ?? subject.event.ids).slice(-MAX_IDS),
    subject: payload,
    ...(ParentImage === undefined ? {} : { parentExecutable: cut(ParentImage, LONGEST_VALUE) }),
    ...parentCommandLine,
    ...(hit.during === undefined ? {} : { during: hit.during }),
    details: {
      ...matched,
      ...(ancestors.length === 0 ? {} : { Ancestors: cut(ancestors.join(';'), LONGEST_VALUE) }),
      ...sequenceDetails(hit, (line) => (redact ? redactCommandLine(line) : line)),
      ...(hit.cut === true ? { JudgedInPart: 'true' } : {}),
      ...(shortened.size === 0
        ? {}
        : { ShortenedField: [...shortened.keys()].join(';'), OriginalBytes: [...shortened.values()].join(';') }),
    },
  });
}

/** Whether a command line contains another one completely. */
const isShownBy = (line: string, other: string): boolean =>
  line === other || (line.length <= SHORT_LINE && plainLine(line).includes(plainLine(other)));

function ruleFacts(hit: Hit) {
  const { rule, selections = [] } = hit;
  const ofRule = attackOf(rule.tags);
  const ofSelections = attackOf(selections.flatMap((name) => rule.selectionTags?.[name] ?? []));
  const either = (tags: string[], fallback: string[]) => (tags.length > 0 ? tags : fallback);
  return {
    ruleId: cut(rule.id, LONGEST_NAME),
    ruleTitle: cut(rule.title, LONGEST_VALUE),
    ruleSource: rule.origin,
    ...(rule.author === undefined ? {} : { ruleAuthor: cut(rule.author, LONGEST_VALUE) }),
    tactics: either(ofSelections.tactics, ofRule.tactics),
    techniques: either(ofSelections.techniques, ofRule.techniques),
    ...(selections.length === 0 ? {} : { selection: cut(selections.join(';'), LONGEST_NAME) }),
    remediation: cut(rule.remediation ?? 'Find out who did this, and whether it was intended.', LONGEST_VALUE * 2),
  };
}

/** Software and groups (s0001, g0001) are neither tactics nor techniques. */
function attackOf(tags: readonly string[]) {
  const attack = new Set(tags.filter((tag) => tag.startsWith('attack.')).map((tag) => tag.slice('attack.'.length)));
  const all = [...attack].filter((tag) => tag.length <= LONGEST_TAG);
  return {
    tactics: all.filter((tag) => !/^[a-z]\d/.test(tag)).slice(0, MAX_IDS),
    techniques: all
      .filter((tag) => /^t\d{4}(\.\d{3})?$/.test(tag))
      .map((tag) => tag.toUpperCase())
      .slice(0, MAX_IDS),
  };
}

type Value = string | number | boolean;

/** Fields of the payload first, then those of its ExtraDetails, which the alert shows under the same names. */
function flattened({ ExtraDetails, ...fields }: Payload): [string, Value][] {
  const isValue = (entry: [string, unknown]): entry is [string, Value] =>
    ['string', 'number', 'boolean'].includes(typeof entry[1]);
  return Object.entries({ ...fields, ...((ExtraDetails ?? {}) as object), ...fields }).filter(isValue);
}

/** A copy truncated to whole characters that fit into this number of bytes of JSON. */
const cut = (text: string, bytes: number): string => copied(cutEncoded(text, bytes));
