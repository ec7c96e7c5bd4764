import { messageOf, toAgentError } from '../../../core/base/errors.ts';
import { redact, redactText } from '../../../core/base/redact.ts';
import { printable } from '../../../core/base/text.ts';
import { VERSION } from '../../../core/base/version.ts';
import { table } from '../../../core/command-line/command.ts';

/** One file of the archive, before it is read. */
export interface Item {
  readonly name: string;
  /** What it is, for the manifest. */
  readonly about: string;
  /** Returns its text, or a value to write as JSON. What it throws is why it is not in the archive. */
  read(): unknown;
}

/** An item that was read, or why it could not be. */
export type Outcome = Pick<Item, 'name' | 'about'> & ({ readonly text: string } | { readonly missing: string });

/** In bytes, of one file of the archive; a longer text keeps its end, since that is the latest. */
export const LARGEST_ITEM = 1024 * 1024;

/** Reads one item, and removes secrets. Never rejects, unless the signal has aborted. */
export async function outcomeOf(
  { name, about, read }: Item,
  { secrets, signal }: { secrets: readonly string[]; signal: AbortSignal },
): Promise<Outcome> {
  try {
    const found = await read();
    const text = typeof found === 'string' ? redactText(found, secrets) : asJson(redact(found, secrets));
    return { name, about, text: bounded(text) }; // cut last: half a secret would not be recognized
  } catch (error) {
    signal.throwIfAborted();
    const why = redactText(messageOf(toAgentError(error)), secrets);
    return { name, about, missing: printable(why).slice(0, LONGEST_REASON) };
  }
}

/** In characters. */
const LONGEST_REASON = 300;

function bounded(text: string): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= LARGEST_ITEM) return text;
  const cut = bytes.length - LARGEST_ITEM;
  return `[the first ${cut} bytes are left out]\n${bytes.subarray(cut).toString('utf8')}`;
}

/** For people, with an end of line. */
const asJson = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** The list of included items, and of missing ones with the reason. */
export function manifest(
  outcomes: readonly Outcome[],
  { at, user, host }: { at: Date; user: string; host: string },
): string[] {
  const found = outcomes.flatMap((one) => ('text' in one ? [one] : []));
  const missing = outcomes.flatMap((one) => ('missing' in one ? [one] : []));
  return [
    `Support bundle of Vakt ${VERSION}, made on ${printable(host)} at ${at.toISOString()} by ${printable(user)}.`,
    'Secrets are replaced by [redacted]. Read what is in it before you pass it on.',
    '',
    ...table(found.map(({ name, text, about }) => [name, `${Buffer.byteLength(text)} bytes`, about])),
    ...(missing.length === 0 ? [] : ['', 'Not in it:', ...table(missing.map(({ name, missing: why }) => [name, why]))]),
  ];
}
