const REDACTED = '[redacted]';

/** Values after names of secrets, and texts that look like a key: padded base64 of 30 bytes or more. */
const SECRETS: readonly (readonly [RegExp, string])[] = [
  [/\b(SharedAccessKey|AccountKey|password|sig)["']?\s*[=:]\s*["']?[^;&"'\s]+/gi, `$1=${REDACTED}`],
  [/\bSharedAccessSignature\s+[^"'\s]+/gi, REDACTED],
  [/\b[A-Za-z0-9+/]{40,}={1,2}/g, REDACTED],
];

/**
 * A copy in which the listed `secrets`, and texts that look like secrets, are replaced. The agent's own texts contain none;
 * this is for texts from elsewhere, such as a library's error messages.
 */
export function redact<T>(value: T, secrets: readonly string[]): T {
  const clean = (text: string) => {
    const known = secrets.reduce((rest, secret) => (secret === '' ? rest : rest.replaceAll(secret, REDACTED)), text);
    return SECRETS.reduce((rest, [pattern, instead]) => rest.replace(pattern, instead), known);
  };
  return JSON.parse(JSON.stringify(value), (_name, member) => (typeof member === 'string' ? clean(member) : member));
}
