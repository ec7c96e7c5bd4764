const REDACTED = '[redacted]';

/** Names that a secret follows, and what looks like a key: base64 of 30 bytes or more that ends like base64. */
const SECRETS: readonly (readonly [RegExp, string])[] = [
  [/\b(SharedAccessKey|AccountKey|password|sig)["']?\s*[=:]\s*["']?[^;&"'\s]+/gi, `$1=${REDACTED}`],
  [/\bSharedAccessSignature\s+[^"'\s]+/gi, REDACTED],
  [/\b[A-Za-z0-9+/]{40,}={1,2}/g, REDACTED],
];

/**
 * A copy without secrets: without what `secrets` lists, and without what looks like one. The agent never says any in the
 * first place; this is for what others say, such as an error of a library.
 */
export function redact<T>(value: T, secrets: readonly string[]): T {
  const clean = (text: string) => {
    const known = secrets.reduce((rest, secret) => (secret === '' ? rest : rest.replaceAll(secret, REDACTED)), text);
    return SECRETS.reduce((rest, [pattern, instead]) => rest.replace(pattern, instead), known);
  };
  return JSON.parse(JSON.stringify(value), (_name, member) => (typeof member === 'string' ? clean(member) : member));
}
