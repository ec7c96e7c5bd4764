import { createHash } from 'node:crypto';
import { findNodeAtLocation, parseTree } from 'jsonc-parser';

/** What one line of the file says of the place of a message in its chain. */
export interface NumberedMessage {
  /** From 1. */
  readonly line: number;
  readonly chain: string;
  readonly sequence: number;
  readonly previousDigest: string;
  /** The first number that it says was given up; all up to its own were. */
  readonly abandonedFrom?: number;
  /** SHA-256 of the body. Two, if the file has the body as JSON and not as text: as it is written, and without blanks. */
  readonly digests: readonly string[];
}

/** A line that is no message with a number. `other`: a message of another sender. */
export type Unnumbered =
  | { readonly line: number; readonly problem: string }
  | { readonly line: number; readonly other: true };

type Json = Readonly<Record<string, unknown>>;

/** Names that the formats have for the body, and for the application properties. */
const BODIES = ['body', 'Body'] as const;
const PROPERTIES = ['applicationProperties', 'Properties', 'properties', 'application'] as const;

/** Reads a line of the file; `vakt emulator --record`, dry runs, and a hub's routes to storage write such lines. */
export function readLine(text: string, line: number): NumberedMessage | Unnumbered {
  const message = parsed(text);
  if (!isObject(message)) return { line, problem: 'is not a JSON object' };
  const bodyName = BODIES.find((name) => Object.hasOwn(message, name));
  if (bodyName === undefined) return { line, problem: 'has no body' };
  const bodies = bodiesOf(message[bodyName], () => rawText(text, bodyName));
  const properties = PROPERTIES.map((name) => message[name]).find(isObject) ?? {};
  if (properties.Chain === undefined && properties.Sequence === undefined) {
    return isOfAgent(parsed(bodies[0] ?? '')) ? { line, problem: 'has no number' } : { line, other: true };
  }
  const { Chain: chain, Sequence, PreviousDigest: previousDigest, Abandoned } = properties;
  const sequence = count(Sequence);
  if (typeof chain !== 'string' || chain === '') return { line, problem: 'has no valid Chain' };
  if (sequence === undefined) return { line, problem: 'has no valid Sequence' };
  if (typeof previousDigest !== 'string' || !/^[0-9a-f]{64}$/.test(previousDigest))
    return { line, problem: 'has no valid PreviousDigest' };
  const abandonedFrom = firstAbandoned(Abandoned, sequence);
  if (abandonedFrom === 'invalid') return { line, problem: 'has no valid Abandoned' };
  const digests = bodies.map((body) => createHash('sha256').update(body).digest('hex'));
  return { line, chain, sequence, previousDigest, digests, ...(abandonedFrom === undefined ? {} : { abandonedFrom }) };
}

/** As text or Base64: one body. As JSON: as it is written, and as the agent writes it. */
function bodiesOf(body: unknown, raw: () => string): readonly string[] {
  if (typeof body !== 'string') return [...new Set([raw(), JSON.stringify(body)])];
  return [body.trimStart().startsWith('{') ? body : Buffer.from(body, 'base64').toString()];
}

/** The text of a member, as it stands in the line. */
function rawText(line: string, name: string): string {
  const tree = parseTree(line);
  const node = tree === undefined ? undefined : findNodeAtLocation(tree, [name]);
  return node === undefined ? '' : line.slice(node.offset, node.offset + node.length);
}

/** The beginning of `7`, `7,8` or `7-12`, which must end just before `sequence`. */
function firstAbandoned(text: unknown, sequence: number): number | undefined | 'invalid' {
  if (text === undefined) return undefined;
  const [, firstText, lastText = firstText] = /^(\d+)(?:[,-](\d+))?$/.exec(String(text)) ?? [];
  const [first, last] = [count(firstText), count(lastText)];
  if (first === undefined || last === undefined || first > last || last !== sequence - 1) return 'invalid';
  return first;
}

/** Exports may have numbers where the message had texts. */
function count(value: unknown): number | undefined {
  const number = Number(value);
  return /^\d+$/.test(String(value)) && Number.isSafeInteger(number) && number > 0 ? number : undefined;
}

const isOfAgent = (body: unknown): boolean => isObject(body) && 'AgentId' in body && 'Events' in body;

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
