import type { Evidence } from './kept-alert.ts';

/** All strings of an alert, as JSON. */
const MAX_BYTES = 4_096;
/** For the alert's id, times, severity and the marker of truncated strings. */
const RESERVED_BYTES = 512;
/** Number of names in the marker. */
const MAX_SHORTENED = 8;
/** Members that identify the alert. They have their own limits, and are not truncated here. */
const IDENTIFYING: readonly string[] = ['Executable', 'UserId', 'UserName', 'RemoteAddress', 'RemotePort'];
const MARKERS: readonly string[] = ['ShortenedField', 'OriginalBytes'];

/** Bytes of a string in JSON, without its quotes. */
export const encodedBytes = (text: string): number => Buffer.byteLength(JSON.stringify(text)) - 2;

/** The longest prefix of whole characters that fits into this number of bytes of JSON. */
export function cutEncoded(text: string, bytes: number): string {
  if (text.length * 6 <= bytes || (text.length <= bytes && encodedBytes(text) <= bytes)) return text;
  let end = 0;
  let left = bytes;
  for (const character of text.slice(0, bytes)) {
    left -= encodedBytes(character);
    if (left < 0) break;
    end += character.length;
  }
  return text.slice(0, end);
}

interface Text {
  readonly name: string;
  readonly text: string;
  readonly bytes: number;
}

/**
 * Truncates the strings of the evidence to 4 KB of JSON in total. The longest strings are truncated first, to a common length;
 * those that identify the alert are kept. A marker lists the truncated strings and their original length.
 */
export function fitted(evidence: Evidence): Evidence {
  const texts = shortenable(evidence);
  const limit = limitOf(
    texts.map(({ bytes }) => bytes),
    MAX_BYTES - RESERVED_BYTES - fixedBytes(evidence),
  );
  const shortened = new Map<string, string>();
  for (const { name, text, bytes } of texts) if (bytes > limit) shortened.set(name, cutEncoded(text, limit));
  return shortened.size === 0 ? evidence : withTexts(evidence, texts, shortened);
}

function shortenable({ subject, details, ...rest }: Evidence): readonly Text[] {
  const all: [string, unknown][] = [
    ['RuleTitle', rest.ruleTitle],
    ['RuleAuthor', rest.ruleAuthor],
    ['Remediation', rest.remediation],
    ['ParentExecutable', rest.parentExecutable],
    ['ParentCommandLine', rest.parentCommandLine],
    ...Object.entries(subject).filter(([name]) => !IDENTIFYING.includes(name)),
    ...Object.entries(details).filter(([name]) => !MARKERS.includes(name)),
  ];
  return all.flatMap(([name, text]) => (typeof text === 'string' ? [{ name, text, bytes: encodedBytes(text) }] : []));
}

function fixedBytes(evidence: Evidence): number {
  const { alertType, ruleId, event, eventIds, tactics, techniques, selection = '', subject } = evidence;
  const lists = [...eventIds, ...tactics, ...techniques].map((text) => encodedBytes(text) + 1);
  const identifying = IDENTIFYING.map((name) => encodedBytes(String(subject[name] ?? '')));
  const texts = [alertType, ruleId, event, selection].map(encodedBytes);
  return [...lists, ...identifying, ...texts].reduce((sum, bytes) => sum + bytes, 0);
}

/** The length to which the longest strings are truncated so that all together take at most `available`. */
function limitOf(sizes: readonly number[], available: number): number {
  let left = Math.max(0, available);
  const ascending = [...sizes].sort((a, b) => a - b);
  for (const [index, size] of ascending.entries()) {
    const share = Math.floor(left / (ascending.length - index));
    if (size > share) return share;
    left -= size;
  }
  return Number.POSITIVE_INFINITY;
}

function withTexts(evidence: Evidence, texts: readonly Text[], shortened: ReadonlyMap<string, string>): Evidence {
  const { subject, details, ...rest } = evidence;
  const replaced = <T extends object>(values: T): T =>
    Object.fromEntries(Object.entries(values).map(([name, value]) => [name, shortened.get(name) ?? value])) as T;
  const of = (name: string, text: string) => shortened.get(name) ?? text;
  const { ruleTitle, ruleAuthor, remediation, parentExecutable, parentCommandLine } = rest;
  return {
    ...rest,
    ruleTitle: of('RuleTitle', ruleTitle),
    remediation: of('Remediation', remediation),
    ...(ruleAuthor === undefined ? {} : { ruleAuthor: of('RuleAuthor', ruleAuthor) }),
    ...(parentExecutable === undefined ? {} : { parentExecutable: of('ParentExecutable', parentExecutable) }),
    ...(parentCommandLine === undefined ? {} : { parentCommandLine: of('ParentCommandLine', parentCommandLine) }),
    subject: replaced(subject),
    details: withMarkers(replaced(details), texts, shortened),
  };
}

/** Adds the truncated strings to the marker, with their original length in bytes of UTF-8. */
function withMarkers(
  details: Evidence['details'],
  texts: readonly Text[],
  shortened: ReadonlyMap<string, string>,
): Evidence['details'] {
  const { ShortenedField, OriginalBytes = '' } = details;
  const sizes = OriginalBytes.split(';');
  const marked = new Map((ShortenedField?.split(';') ?? []).map((name, index) => [name, sizes[index] ?? '']));
  for (const { name, text } of texts)
    if (shortened.has(name) && !marked.has(name) && marked.size < MAX_SHORTENED)
      marked.set(name, String(Buffer.byteLength(text)));
  return {
    ...details,
    ShortenedField: [...marked.keys()].join(';'),
    OriginalBytes: [...marked.values()].join(';'),
  };
}
