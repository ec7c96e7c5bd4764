import { isPlainObject } from '../core/base/values.ts';
import type { Credential } from './identity.ts';
import { RestError } from './rest-errors.ts';
import type { Properties } from './twin-limits.ts';

/* Parts common to requests about devices and modules. */

/** @param etag `undefined` if the identity does not exist @throws RestError 412001 if the header names another etag */
export function checkMatch(etag: string | undefined, ifMatch: string | undefined, name: string): void {
  const wanted = ifMatch?.replaceAll('"', ''); // the SDK quotes the asterisk, too
  if (wanted === undefined || (wanted === '*' && etag !== undefined) || wanted === etag) return;
  throw new RestError(412001, `The If-Match header does not match the etag of ${name}.`);
}

/**
 * The credential that a client requests. Without keys or thumbprints the hub creates keys, or keeps the existing ones.
 *
 * @throws RestError 400004
 */
export function credentialIn(body: Properties): Credential | undefined {
  const authentication = body.authentication ?? {};
  if (!isPlainObject(authentication)) throw new RestError(400004, '"authentication" is not an object.');
  const { type = 'sas' } = authentication;
  if (type === 'certificateAuthority') return { type };
  if (type === 'selfSigned') {
    const { primaryThumbprint, secondaryThumbprint } = strings(authentication, 'x509Thumbprint');
    if (primaryThumbprint === undefined) throw new RestError(400004, '"primaryThumbprint" is missing.');
    return { type, primaryThumbprint, ...(secondaryThumbprint === undefined ? {} : { secondaryThumbprint }) };
  }
  if (type !== 'sas') throw new RestError(400004, `"${type}" is not a type of authentication.`);
  const { primaryKey, secondaryKey } = strings(authentication, 'symmetricKey');
  if (primaryKey === undefined && secondaryKey === undefined) return undefined;
  if (primaryKey === undefined || secondaryKey === undefined)
    throw new RestError(400004, 'One of the two keys is missing.');
  return { type, primaryKey, secondaryKey };
}

/** A credential in the hub's format. */
export function authenticationOf(credential: Credential) {
  const { primaryKey = null, secondaryKey = null } = credential.type === 'sas' ? credential : {};
  const { primaryThumbprint = null, secondaryThumbprint = null } = credential.type === 'selfSigned' ? credential : {};
  return {
    symmetricKey: { primaryKey, secondaryKey },
    x509Thumbprint: { primaryThumbprint, secondaryThumbprint },
    type: credential.type,
  };
}

/** Runs a change of the registry. @throws RestError 400004 if the registry refuses it */
export function registering<T>(register: () => T): T {
  try {
    return register();
  } catch (error) {
    if (error instanceof RangeError) throw new RestError(400004, error.message);
    throw error;
  }
}

function strings(authentication: Properties, member: string): Readonly<Record<string, string | undefined>> {
  const value = authentication[member] ?? {};
  if (!isPlainObject(value)) throw new RestError(400004, `"${member}" is not an object.`);
  return Object.fromEntries(
    Object.entries(value).map(([name, text]) => {
      if (text !== null && typeof text !== 'string') throw new RestError(400004, `"${name}" is not a string.`);
      return [name, text || undefined];
    }),
  );
}
