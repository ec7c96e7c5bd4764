import { printable } from '../../../core/base/text.ts';
import { VERSION } from '../../../core/base/version.ts';
import { table } from '../../../core/command-line/command.ts';
import type { Outcome } from './item.ts';

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
