/* Names whose value is a secret. Names are compared in lower case, without `-`, `_` and `.`. */

/** Suffixes of names: `MYSQL_PASSWORD`, `--access-token`, `SharedAccessKey`. */
const SUFFIXES = [
  ...['password', 'passwd', 'passphrase', 'passcode', 'pwd', 'pass', 'secret', 'token', 'signature', 'psk'],
  ...['accesskey', 'accountkey', 'apikey', 'secretkey', 'privatekey', 'authkey', 'signingkey', 'encryptionkey'],
  ...['masterkey', 'sharedkey', 'storagekey', 'subscriptionkey', 'functionskey', 'licensekey', 'primarykey'],
  ...['secondarykey', 'sessionkey', 'authorization', 'cookie', 'credentials', 'webhookurl'],
];
/** Whole names that are too short for a suffix. */
const NAMES = new Set(['sig', 'pin', 'otp', '_auth', 'sshpass', 'bearer']);
/** Words that have such a suffix but no secret value. */
const NOT_SECRET = new Set(['oldpwd', 'bypass', 'compass', 'nopass', 'nopassword', 'nopasswd', 'trespass']);
/** The value is usually a file name, which an alert should show. */
const MAYBE_PATH = /(?:key|pwd|secret|token|cookie|credentials|signature)$/;
/** Only within the query of a URL. */
const QUERY_NAMES = new Set(['code', 'key', 'auth']);

/** The suffixes, keyed by their last letter, so that most names need no comparison. */
const BY_LAST_LETTER = new Map<string, string[]>();
for (const suffix of SUFFIXES) {
  const last = suffix.charAt(suffix.length - 1);
  BY_LAST_LETTER.set(last, [...(BY_LAST_LETTER.get(last) ?? []), suffix]);
}

/** Longer than every suffix with separators, in UTF-16 units. */
const LONGEST_END = 64;

export interface SecretName {
  /** Whether a value that is a path is shown. */
  readonly mayBePath: boolean;
  /** Whether the value can have a scheme before it, as in `Authorization: Bearer x`. */
  readonly hasScheme: boolean;
}

/** @param name as written, without an option's dashes. @returns `undefined` if its value is not a secret */
export function secretName(name: string, isInQuery = false): SecretName | undefined {
  const written = name.slice(-LONGEST_END).toLowerCase();
  const plain = written.replace(/[-_.]/g, '');
  if (NOT_SECRET.has(plain)) return undefined;
  const ends = BY_LAST_LETTER.get(plain.charAt(plain.length - 1)) ?? [];
  const isSecret =
    NAMES.has(plain) ||
    NAMES.has(written) ||
    (isInQuery && QUERY_NAMES.has(plain)) ||
    ends.some((end) => plain.endsWith(end));
  return isSecret ? { mayBePath: MAYBE_PATH.test(plain), hasScheme: plain.endsWith('authorization') } : undefined;
}
