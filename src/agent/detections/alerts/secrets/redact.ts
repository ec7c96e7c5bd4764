import { secretArguments } from './options.ts';
import { replaced } from './spans.ts';
import { knownTokens, privateKeys } from './tokens.ts';
import { urlPasswords } from './urls.ts';
import { namedValues } from './values.ts';

/**
 * Replaces probable secrets in a command line by `[redacted]`. The time is linear in the length for any input, because users
 * choose the arguments of the programs that they start.
 *
 * Arguments are joined by spaces, so only the first word of a secret with spaces is found. Base64 and hexadecimal strings
 * without a name are kept: in an alert they are evidence.
 */
export const redactCommandLine = (text: string): string =>
  replaced(text, [
    ...namedValues(text),
    ...secretArguments(text),
    ...urlPasswords(text),
    ...knownTokens(text),
    ...privateKeys(text),
  ]);
