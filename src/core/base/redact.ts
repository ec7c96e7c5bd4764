const REDACTED = '[redacted]';

/** Values after names of secrets, and strings that look like a key: padded base64 of 30 bytes or more. */
const SECRETS: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN ([A-Z ]*PRIVATE KEY)-----[^-]*(?:-----END \1-----)?/g, REDACTED],
  [/\b(SharedAccessKey|AccountKey|password|sig)["']?\s*[=:]\s*["']?[^;&"'\s]+/gi, `$1=${REDACTED}`],
  [/\bSharedAccessSignature\s+[^"'\s]+/gi, REDACTED],
  [/\b(Bearer|Basic)\s+[A-Za-z0-9._~+/-]{20,}=*/g, `$1 ${REDACTED}`],
  [/(\b[a-z][a-z0-9+.-]{1,15}:\/\/[^/\s:@]{1,256}):[^/\s@]{1,1024}@/gi, `$1:${REDACTED}@`],
  [/(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{40,}={1,2}/g, REDACTED],
];

/** Names of object members whose string is always a secret. */
const SECRET_NAME =
  /^(?:sharedAccessKey|accountKey|primaryKey|secondaryKey|privateKey|connectionString|password|sig)$/i;

/** Shorter secrets are not searched for: they would match by chance. */
const MIN_SECRET_CHARACTERS = 6;

/** The forms in which a program may write a secret. */
const formsOf = (secret: string): readonly string[] => [
  secret,
  encodeURIComponent(secret),
  JSON.stringify(secret).slice(1, -1),
  secret.replace(/=+$/, ''),
];

/**
 * A copy of a string in which the listed `secrets`, and anything that looks like a secret, are replaced. Takes time in
 * proportion to the string's length and the number of secrets.
 */
export function redactText(text: string, secrets: readonly string[]): string {
  const forms = new Set(secrets.filter(({ length }) => length >= MIN_SECRET_CHARACTERS).flatMap(formsOf));
  const longestFirst = [...forms].sort((a, b) => b.length - a.length);
  const known = longestFirst.reduce((rest, form) => rest.replaceAll(form, REDACTED), text);
  return SECRETS.reduce((rest, [pattern, instead]) => rest.replace(pattern, instead), known);
}

/**
 * A copy of a JSON value in which the listed `secrets`, and strings that look like secrets, are replaced. The agent's
 * own strings never contain secrets; this is for strings from elsewhere, such as a library's error messages.
 */
export const redact = <T>(value: T, secrets: readonly string[]): T =>
  JSON.parse(JSON.stringify(value), (name, member) => {
    if (typeof member !== 'string') return member;
    return SECRET_NAME.test(name) ? REDACTED : redactText(member, secrets);
  });
