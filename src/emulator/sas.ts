import { createHmac, timingSafeEqual } from 'node:crypto';

/** A shared access signature token, parsed but not verified. */
export interface SasToken {
  /** As in the token: still encoded, since the signature covers the encoded form. */
  readonly encodedResource: string;
  readonly resource: string;
  readonly signature: Buffer;
  /** As in the token: seconds since the Unix epoch. */
  readonly expiry: string;
  readonly expiresAt: Date;
  /** Name of the hub's shared access policy, if the token was signed with that instead of an identity's key. */
  readonly policy?: string;
}

/**
 * Parses `SharedAccessSignature sr=…&sig=…&se=…[&skn=…]`.
 * Source: "Control access to IoT Hub by using shared access signatures".
 *
 * @returns `undefined` if the text is not such a token
 */
export function parseSasToken(text: string): SasToken | undefined {
  const [, fields] = /^SharedAccessSignature (\S+)$/.exec(text) ?? [];
  if (fields === undefined) return undefined;
  const raw = new Map(fields.split('&').map((field) => splitAt(field, field.indexOf('='))));
  const encodedResource = raw.get('sr');
  const resource = decode(encodedResource);
  const signature = decode(raw.get('sig'));
  const expiry = raw.get('se');
  const policy = decode(raw.get('skn'));
  if (encodedResource === undefined || resource === undefined || signature === undefined) return undefined;
  if (expiry === undefined || !/^\d{1,12}$/.test(expiry)) return undefined;
  return {
    encodedResource,
    resource,
    signature: Buffer.from(signature, 'base64'),
    expiry,
    expiresAt: new Date(Number(expiry) * 1_000),
    ...(policy ? { policy } : {}),
  };
}

/** Whether the token was signed with this key. Constant time. */
export function isSignedWith(token: SasToken, base64Key: string): boolean {
  const right = digest(token.encodedResource, token.expiry, base64Key);
  return token.signature.length === right.length && timingSafeEqual(token.signature, right);
}

/**
 * Whether a token for `resource` grants access to `path` at `hostName`: `resource` must be that path or a prefix of whole
 * segments. Host names are case-insensitive, ids are case-sensitive.
 */
export function covers(resource: string, hostName: string, path: readonly string[]): boolean {
  const [host = '', ...segments] = resource.split('/');
  if (host.toLowerCase() !== hostName.toLowerCase() || segments.length > path.length) return false;
  return segments.every((segment, index) => segment === path[index] || decode(segment) === path[index]);
}

/** Creates a token as a device does; with `policy`, as a service does with the key of a shared access policy. */
export function signSasToken(resource: string, base64Key: string, expiresAt: Date, policy?: string): string {
  const encoded = encodeURIComponent(resource);
  const expiry = String(Math.floor(expiresAt.getTime() / 1_000));
  const signature = encodeURIComponent(digest(encoded, expiry, base64Key).toString('base64'));
  const name = policy === undefined ? '' : `&skn=${encodeURIComponent(policy)}`;
  return `SharedAccessSignature sr=${encoded}&sig=${signature}&se=${expiry}${name}`;
}

const digest = (encodedResource: string, expiry: string, base64Key: string) =>
  createHmac('sha256', Buffer.from(base64Key, 'base64')).update(`${encodedResource}\n${expiry}`).digest();

const splitAt = (text: string, index: number): [string, string] =>
  index === -1 ? [text, ''] : [text.slice(0, index), text.slice(index + 1)];

/** @returns `undefined` if the text is missing or not percent-encoded UTF-8 */
function decode(text: string | undefined): string | undefined {
  try {
    return text === undefined ? undefined : decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
