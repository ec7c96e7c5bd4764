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
  /** Missing or altered messages, one sentence each. */
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

const isFirst = (message: NumberedMessage): boolean => gapStart(message) === 1;

/** The first number before a message that it says was given up; its own number if it names none. */
const gapStart = ({ sequence, abandonedFrom }: NumberedMessage): number => abandonedFrom ?? sequence;

/** Facts from outside one chain. */
interface Surroundings {
  readonly isPartial: boolean;
  /** Messages, keyed by digest of their bodies. */
  readonly owners: ReadonlyMap<string, NumberedMessage>;
  /** The first message of another chain. */
  readonly other: NumberedMessage | undefined;
  readonly continued: ReadonlySet<string>;
}

function verifyChain(chain: string, all: readonly NumberedMessage[], around: Surroundings): ChainReport {
  const { messages, wrong } = inOrder(all);
  const gaps = gapsIn(messages, around);
  return {
    chain,
    first: messages[0]?.sequence ?? 0,
    last: messages.at(-1)?.sequence ?? 0,
    messages: messages.length,
    repeats: all.length - messages.length,
    abandoned: gaps.abandoned,
    wrong: [...wrong, ...gaps.wrong],
    unproved: [...gaps.unproved, ...unconfirmed(messages, gaps.confirmed, around)],
  };
}

/** The messages by ascending number, each number once. */
function inOrder(all: readonly NumberedMessage[]): { messages: readonly NumberedMessage[]; wrong: readonly string[] } {
  const wrong: string[] = [];
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
  return { messages: [...byNumber.values()].sort((a, b) => a.sequence - b.sequence), wrong };
}

interface Gaps {
  readonly abandoned: number;
  /** Numbers that a later message refers to as the one before it. */
  readonly confirmed: ReadonlySet<number>;
  readonly wrong: readonly string[];
  readonly unproved: readonly string[];
}

/** What each message says about those before it. */
function gapsIn(messages: readonly NumberedMessage[], around: Surroundings): Gaps {
  const wrong: string[] = [];
  const unproved: string[] = [];
  const confirmed = new Set<number>();
  let abandoned = 0;
  let expected = around.isPartial ? (messages[0]?.sequence ?? 1) : 1;
  for (const message of messages) {
    const { sequence } = message;
    // Absent numbers from here on were given up; those below are missing.
    const from = gapStart(message);
    if (expected < from) wrong.push(missing(expected, from - 1));
    const absent = Math.max(expected, from);
    abandoned += sequence - absent;
    if (absent < sequence) unproved.push(onlyClaimed(absent, sequence - 1, message));
    expected = sequence + 1;
    const link = isFirst(message) ? linkToChain(message, around) : linkWithin(messages, message, around);
    if (link === 'confirmed') confirmed.add(from - 1);
    else if (link !== undefined) (link.isWrong ? wrong : unproved).push(link.problem);
  }
  return { abandoned, confirmed, wrong, unproved };
}

/** What the digest of the message before shows; `undefined`: nothing, or what is reported elsewhere. */
type Link = 'confirmed' | { readonly isWrong: boolean; readonly problem: string } | undefined;

/** Checks the link of the first message of a chain. */
function linkToChain(message: NumberedMessage, { isPartial, owners, other }: Surroundings): Link {
  const { previousDigest } = message;
  const owner = owners.get(previousDigest);
  if (owner !== undefined && owner.chain !== message.chain) return undefined;
  const unproved = { isWrong: false, problem: `what the agent sent before ${named(message)}, in another chain` };
  if (previousDigest === NOTHING) return other !== undefined && other.line < message.line ? unproved : undefined;
  if (isPartial) return unproved;
  return { isWrong: true, problem: `the message before ${named(message)}, in another chain, is missing or altered` };
}

/** Checks the link of any later message. */
function linkWithin(messages: readonly NumberedMessage[], message: NumberedMessage, { isPartial }: Surroundings): Link {
  const before = gapStart(message) - 1;
  const later = indexAfter(messages, before);
  const previous = messages[later - 1];
  if (previous?.sequence === before) {
    if (previous.digests.includes(message.previousDigest)) return 'confirmed';
    const problem = `${named(previous)} is not what ${named(message)} says was sent before it: one of them was altered, or is in another's place`;
    return { isWrong: true, problem };
  }
  const giver = messages[later];
  if (giver !== undefined && giver.sequence < message.sequence && gapStart(giver) <= before)
    return { isWrong: true, problem: contradicting(before, message, giver) };
  if (isPartial && previous === undefined) return { isWrong: false, problem: `what came before ${named(message)}` };
  return undefined; // it has been reported as missing
}

/** The messages that no other confirms. */
function unconfirmed(
  messages: readonly NumberedMessage[],
  confirmed: ReadonlySet<number>,
  { continued }: Surroundings,
): readonly string[] {
  const givenUp = numbersGivenUp(messages);
  const last = messages.at(-1);
  return messages.flatMap((message) => {
    if (confirmed.has(message.sequence) || message.digests.some((digest) => continued.has(digest))) return [];
    if (message === last) return [`${named(message)}, the last one, and whether others followed`];
    return givenUp.has(message.sequence)
      ? [`${named(message)}: the agent gave it up, so that no other confirms it`]
      : [];
  });
}

/** Those numbers that a later message says were given up. */
function numbersGivenUp(messages: readonly NumberedMessage[]): ReadonlySet<number> {
  const all = new Set<number>();
  let from = Number.POSITIVE_INFINITY;
  for (const message of messages.toReversed()) {
    if (message.sequence >= from) all.add(message.sequence);
    from = Math.min(from, gapStart(message));
  }
  return all;
}

/** The index of the first message above a number, which may be after the last. A binary search, since chains are long. */
function indexAfter(messages: readonly NumberedMessage[], number: number): number {
  let [from, to] = [0, messages.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((messages[middle] as NumberedMessage).sequence > number) to = middle;
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
  const [numbers, them] = first === last ? [`number ${first}`, 'it'] : [`numbers ${first} to ${last}`, 'them'];
  return `${numbers}: only ${named(by)} says that the agent gave ${them} up`;
}

/** The last one was acknowledged. It may have named others before it as given up. */
function missing(first: number, last: number): string {
  if (first === last) return `message ${first} is missing`;
  return `messages ${first} to ${last} are missing (unless those before ${last} were given up)`;
}
