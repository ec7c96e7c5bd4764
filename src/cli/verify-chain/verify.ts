import type { NumberedMessage } from './record.ts';

const NOTHING = '0'.repeat(64);

/** What the messages of one chain prove. */
export interface ChainReport {
  readonly chain: string;
  readonly first: number;
  readonly last: number;
  readonly messages: number;
  readonly repeats: number;
  /** Numbers that a later message names as given up, and that have not arrived. */
  readonly abandoned: number;
  /** What is missing or altered, a sentence each. */
  readonly wrong: readonly string[];
  /** What the messages can't prove, a sentence each. */
  readonly unproved: readonly string[];
}

/**
 * Looks for messages that are missing, altered, or in another place, in the order in which they were received.
 *
 * Each message has the digest of the one before it: of the highest number below its own that it doesn't name as given up.
 *
 * @param isPartial the file begins in the middle of chains, so that what was before is not missed
 */
export function verifyChains(
  messages: readonly NumberedMessage[],
  { isPartial = false }: { isPartial?: boolean } = {},
): readonly ChainReport[] {
  const chains = new Map<string, NumberedMessage[]>();
  for (const message of messages) {
    const known = chains.get(message.chain);
    if (known === undefined) chains.set(message.chain, [message]);
    else known.push(message);
  }
  const owners = new Map<string, NumberedMessage>();
  for (const message of messages) for (const digest of message.digests) owners.set(digest, message);
  /** Digests of the last messages of chains that another chain continues. */
  const continued = new Set(
    [...chains.values()].flatMap((all) => all.filter(isFirst).map((one) => one.previousDigest)),
  );
  const [first, second] = [...chains.values()].map(([one]) => one);
  return [...chains].map(([chain, all]) =>
    verifyChain(chain, all, { isPartial, owners, other: first?.chain === chain ? second : first, continued }),
  );
}

const isFirst = ({ sequence, abandonedFrom }: NumberedMessage): boolean => (abandonedFrom ?? sequence) === 1;

function verifyChain(
  chain: string,
  all: readonly NumberedMessage[],
  {
    isPartial,
    owners,
    other,
    continued,
  }: {
    isPartial: boolean;
    /** By digest of their bodies. */
    owners: ReadonlyMap<string, NumberedMessage>;
    /** The first message of another chain. */
    other: NumberedMessage | undefined;
    continued: ReadonlySet<string>;
  },
): ChainReport {
  const wrong: string[] = [];
  const unproved: string[] = [];
  const byNumber = new Map<number, NumberedMessage>();
  let newest: NumberedMessage | undefined;
  for (const message of all) {
    const known = byNumber.get(message.sequence);
    if (known !== undefined) {
      if (!isSame(known, message)) wrong.push(`${named(known)} and ${named(message)} differ: one of them was altered`);
      continue;
    }
    if (newest !== undefined && message.sequence < newest.sequence)
      wrong.push(`${named(message)} comes after ${named(newest)}`);
    byNumber.set(message.sequence, message);
    if (newest === undefined || message.sequence > newest.sequence) newest = message;
  }
  const numbers = [...byNumber.keys()].sort((a, b) => a - b);
  const [first = 0, last = 0] = [numbers[0], numbers.at(-1)];

  let abandoned = 0;
  /** Numbers that a later message refers to as the one before it. */
  const confirmed = new Set<number>();
  let expected = isPartial ? first : 1;
  for (const number of numbers) {
    const message = byNumber.get(number) as NumberedMessage;
    // Absent numbers from here on were given up; those below are missing.
    const from = message.abandonedFrom ?? number;
    const before = from - 1;
    if (expected < from) wrong.push(missing(expected, before));
    const absent = Math.max(expected, from);
    abandoned += number - absent;
    if (absent < number) unproved.push(onlyClaimed(absent, number - 1, message));
    expected = number + 1;
    const previous = byNumber.get(before);
    if (before === 0) checkFirst(message);
    else if (previous === undefined) {
      const giver = givesUp(before, number);
      if (giver !== undefined) wrong.push(contradicting(before, message, giver));
      else if (isPartial && before < first) unproved.push(`what came before ${named(message)}`);
      // Otherwise it has been reported as missing.
    } else if (previous.digests.includes(message.previousDigest)) confirmed.add(before);
    else
      wrong.push(
        `${named(previous)} is not what ${named(message)} says was sent before it: one of them was altered, or is in another's place`,
      );
  }

  function checkFirst(message: NumberedMessage): void {
    const { previousDigest } = message;
    const owner = owners.get(previousDigest);
    if (owner !== undefined && owner.chain !== chain) return;
    const text = `what the agent sent before ${named(message)}, in another chain`;
    if (previousDigest === NOTHING) {
      if (other !== undefined && other.line < message.line) unproved.push(text);
    } else if (isPartial) unproved.push(text);
    else wrong.push(`the message before ${named(message)}, in another chain, is missing or altered`);
  }

  const givenUp = numbersGivenUp();
  for (const number of numbers) {
    const message = byNumber.get(number) as NumberedMessage;
    if (confirmed.has(number) || message.digests.some((digest) => continued.has(digest))) continue;
    if (number === last) unproved.push(`${named(message)}, the last one, and whether others followed`);
    else if (givenUp.has(number))
      unproved.push(`${named(message)}: the agent gave it up, so that no other confirms it`);
  }

  /** The message below `end` that says of an absent number that it was given up. */
  function givesUp(absent: number, end: number): NumberedMessage | undefined {
    const later = numbers[indexAfter(numbers, absent)];
    const message = later === undefined || later >= end ? undefined : byNumber.get(later);
    return message !== undefined && (message.abandonedFrom ?? message.sequence) <= absent ? message : undefined;
  }

  /** Those numbers that a later message says were given up. */
  function numbersGivenUp(): ReadonlySet<number> {
    const all = new Set<number>();
    let from = Number.POSITIVE_INFINITY;
    for (const number of numbers.toReversed()) {
      if (number >= from) all.add(number);
      from = Math.min(from, byNumber.get(number)?.abandonedFrom ?? number);
    }
    return all;
  }

  return {
    chain,
    first,
    last,
    messages: numbers.length,
    repeats: all.length - numbers.length,
    abandoned,
    wrong,
    unproved,
  };
}

/** The index of the first number above `limit`, which may be behind the last. Chains are long, and each message may ask. */
function indexAfter(sorted: readonly number[], limit: number): number {
  let [from, to] = [0, sorted.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((sorted[middle] as number) > limit) to = middle;
    else from = middle + 1;
  }
  return from;
}

/** Whether two lines with one number can be the same message. */
const isSame = (one: NumberedMessage, other: NumberedMessage): boolean =>
  one.digests.some((digest) => other.digests.includes(digest)) &&
  one.previousDigest === other.previousDigest &&
  one.abandonedFrom === other.abandonedFrom;

const named = ({ sequence, line }: NumberedMessage): string => `message ${sequence} (line ${line})`;

/** The agent never gives up what was acknowledged: one of both was altered, or the message was removed. */
const contradicting = (absent: number, message: NumberedMessage, other: NumberedMessage): string =>
  `${named(message)} says that message ${absent} was sent before it, ${named(other)} that the agent gave ${absent} up`;

/** No digest covers `Abandoned`. */
function onlyClaimed(first: number, last: number, by: NumberedMessage): string {
  const [what, them] = first === last ? [`number ${first}`, 'it'] : [`numbers ${first} to ${last}`, 'them'];
  return `${what}: only ${named(by)} says that the agent gave ${them} up`;
}

/** The last one was acknowledged. It may have named others before it as given up. */
function missing(first: number, last: number): string {
  if (first === last) return `message ${first} is missing`;
  return `messages ${first} to ${last} are missing (unless those before ${last} were given up)`;
}
