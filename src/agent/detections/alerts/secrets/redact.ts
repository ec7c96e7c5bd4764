import { secretArguments } from './options.ts';
import { replaced } from './spans.ts';
import { knownTokens, privateKeys } from './tokens.ts';
import { urlPasswords } from './urls.ts';
import { namedValues } from './values.ts';

/**
 * A command line with `[redacted]` instead of what looks like a secret. Takes time in proportion to the length, whatever the
 * text is: whoever starts a program chooses its arguments.
 *
 * Arguments are joined by blanks, so of a secret that contains a blank only the first word is found. Base64 and hexadecimal
 * text without a name stay: in an alert they are evidence.
 */
export const redactCommandLine = (text: string): string =>
  replaced(text, [
    ...namedValues(text),
    ...secretArguments(text),
    ...urlPasswords(text),
    ...knownTokens(text),
    ...privateKeys(text),
  ]);
