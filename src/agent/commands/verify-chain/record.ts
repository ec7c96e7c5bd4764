import { createHash } from 'node:crypto';
import { type Member, membersOf, repeatedNames, withoutBlanks } from '../../../core/base/json-names.ts';
import { isPlainObject } from '../../../core/base/values.ts';

/** The position of a message in its chain, from one line of the file. */
export interface NumberedMessage {
  /** From 1. */
  readonly line: number;
  readonly chain: string;
  readonly sequence: number;
  readonly previousDigest: string;
  /** The first number that it says was given up; all up to its own were. */
  readonly abandonedFrom?: number;
  /** SHA-256 of the body. Two, if the file has the body as JSON and not as text: as it is written, and without spaces. */
  readonly digests: readonly string[];
}

/** A line that is not a numbered message. `other`: a message of another sender. */
export type Unnumbered =
  | { readonly line: number; readonly problem: string }
  | { readonly line: number; readonly other: true };

/** Names that the formats have for the body, and for the application properties; readers may not mind their case. */
const BODIES = ['body'];
const PROPERTIES = ['applicationproperties', 'properties', 'application'];

/**
 * Reads a line of the file; `vakt emulator --record`, dry runs, and a hub's routes to storage write such lines.
 *
 * A line that two readers of JSON can take for different messages proves nothing: it is a problem.
 */
export function readLine(text: string, line: number): NumberedMessage | Unnumbered {
  if (!isPlainObject(parsed(text))) return { line, problem: 'is not a JSON object' };
  const members = membersOf(text);
  const [body, ...otherBodies] = named(members, BODIES);
  if (body === undefined) return { line, problem: 'has no body' };
  if (otherBodies.length > 0) return { line, problem: 'has its body more than once' };
  const [application, ...otherProperties] = named(members, PROPERTIES);
  if (otherProperties.length > 0) return { line, problem: 'has its properties more than once' };
  const repeated = repeatedIn(members.filter((member) => member !== body && member !== application));
  if (repeated !== undefined) return { line, problem: `has ${repeated} twice` };
  const repeatedProperty = firstRepeated(application?.text ?? '', asOthersRead);
  if (repeatedProperty !== undefined) return { line, problem: `has ${repeatedProperty} twice in its properties` };
  const all = parsed(application?.text ?? '');
  const properties = isPlainObject(all) ? all : {};
  const bodies = bodiesOf(body.text);
  const content = bodies[0]?.toString() ?? '';
  const message = parsed(content);
  if (properties.Chain === undefined && properties.Sequence === undefined)
    return isOfAgent(message) ? { line, problem: 'has no number' } : { line, other: true };
  const repeatedInBody = message === undefined ? undefined : firstRepeated(content);
  if (repeatedInBody !== undefined) return { line, problem: `has ${repeatedInBody} twice in its body` };
  if (bodies.some((one) => typeof one === 'string' && !isWellFormed(one)))
    return { line, problem: 'has a body that is not valid Unicode' };
  const { Chain: chain, Sequence, PreviousDigest: previousDigest, Abandoned } = properties;
  const sequence = count(Sequence);
  if (typeof chain !== 'string' || chain === '') return { line, problem: 'has no valid Chain' };
  if (sequence === undefined) return { line, problem: 'has no valid Sequence' };
  if (typeof previousDigest !== 'string' || !/^[0-9a-f]{64}$/.test(previousDigest))
    return { line, problem: 'has no valid PreviousDigest' };
  const abandonedFrom = firstAbandoned(Abandoned, sequence);
  if (abandonedFrom === 'invalid') return { line, problem: 'has no valid Abandoned' };
  const digests = bodies.map((one) => createHash('sha256').update(one).digest('hex'));
  return { line, chain, sequence, previousDigest, digests, ...(abandonedFrom === undefined ? {} : { abandonedFrom }) };
}

/**
 * The body of a message in a line that `readLine` reads, as text. `undefined` if the line has none, or several.
 *
 * @param text a JSON object
 */
export function bodyIn(text: string): string | undefined {
  const [body, ...others] = named(membersOf(text), BODIES);
  return body === undefined || others.length > 0 ? undefined : bodiesOf(body.text)[0]?.toString();
}

const named = (members: readonly Member[], names: readonly string[]): readonly Member[] =>
  members.filter(({ name }) => names.includes(asOthersRead(name)));

/** Whether it has no half of a surrogate pair, which readers replace. */
const isWellFormed = (text: string): boolean => Buffer.from(text).toString() === text;

/** Some readers find a member whatever the case of its name; some take a NUL for the end of a text. */
const asOthersRead = (name: string): string => (name.split('\0')[0] ?? '').toLowerCase();

/** The first name that is there twice among the members, or within one of them. */
function repeatedIn(members: readonly Member[]): string | undefined {
  const known = new Set<string>();
  for (const { name, text } of members) {
    if (known.has(name)) return JSON.stringify(name);
    known.add(name);
    const within = repeatedNames(text)[0];
    if (within !== undefined) return JSON.stringify([name, ...within.path].join('.'));
  }
  return undefined;
}

function firstRepeated(text: string, same?: (name: string) => string): string | undefined {
  const [first] = repeatedNames(text, same);
  return first === undefined ? undefined : JSON.stringify(first.path.join('.'));
}

/**
 * As text or Base64: one body. As JSON: as it is written, and without spaces, as the agent writes it; numbers stay as they are
 * written, since not every reader rounds them.
 */
function bodiesOf(json: string): readonly (string | Buffer)[] {
  const body: unknown = JSON.parse(json);
  if (typeof body !== 'string') return [...new Set([json, withoutBlanks(json)])];
  const bytes = Buffer.from(body, 'base64');
  // Only what decodes to the same bytes for every reader.
  return [body !== '' && bytes.toString('base64') === body ? bytes : body];
}

/** The beginning of `7`, `7,8` or `7-12`, which must end just before `sequence`. */
function firstAbandoned(text: unknown, sequence: number): number | undefined | 'invalid' {
  if (text === undefined) return undefined;
  const [, firstText, lastText = firstText] =
    /^(\d+)(?:[,-](\d+))?$/.exec(typeof text === 'object' ? '' : String(text)) ?? [];
  const [first, last] = [count(firstText), count(lastText)];
  if (first === undefined || last === undefined || first > last || last !== sequence - 1) return 'invalid';
  return first;
}

/** Exports may have numbers where the message had strings. */
function count(value: unknown): number | undefined {
  if (typeof value !== 'string' && typeof value !== 'number') return undefined;
  const number = Number(value);
  return /^\d+$/.test(String(value)) && Number.isSafeInteger(number) && number > 0 ? number : undefined;
}

const isOfAgent = (body: unknown): boolean => isPlainObject(body) && 'AgentId' in body && 'Events' in body;

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
