import { createHmac } from 'node:crypto';
import { AgentError } from '../../core/base/errors.ts';
import { type ModuleAddress, type Proof, TOKEN_LIFE } from './identity.ts';

/** A shared access signature: IoT Hub accepts it as the password for one resource until it expires. */
export interface SasToken {
  readonly text: string;
  readonly expiresAt: Date;
}

/** A token without its signature, for a key that its holder doesn't give away. */
export interface UnsignedToken {
  /** The signature is an HMAC-SHA256 of this text with the identity's key. */
  readonly text: string;
  /** @param signature in base64 */
  withSignature(signature: string): SasToken;
}

/**
 * Begins a token for a resource, `{hub}/devices/{device}/modules/{module}`.
 *
 * Source: "Control access to IoT Hub using shared access signatures", Azure IoT Hub documentation.
 */
export function unsignedToken(resource: string, expiresAt: Date): UnsignedToken {
  const seconds = Math.floor(expiresAt.getTime() / 1_000);
  const uri = encodeStrictly(resource);
  return {
    text: `${uri}\n${seconds}`,
    withSignature: (signature) => ({
      text: `SharedAccessSignature sr=${uri}&sig=${encodeStrictly(signature)}&se=${seconds}`,
      expiresAt: new Date(seconds * 1_000),
    }),
  };
}

/**
 * Signs a token for a resource.
 *
 * @param key the identity's shared access key, in base64
 */
export function signSasToken(resource: string, key: string, expiresAt: Date): SasToken {
  const unsigned = unsignedToken(resource, expiresAt);
  const signature = createHmac('sha256', Buffer.from(key, 'base64')).update(unsigned.text).digest('base64');
  return unsigned.withSignature(signature);
}

/** The resource that a module's token is for, and a device's. Ids are not encoded in it: the token encodes the whole. */
export const resourceOf = ({ hostName, deviceId, moduleId }: Omit<ModuleAddress, 'moduleId'> & { moduleId?: string }) =>
  `${hostName}/devices/${deviceId}${moduleId === undefined ? '' : `/modules/${moduleId}`}`;

/** @param key the module's, in base64 */
export function signModuleToken(module: ModuleAddress, key: string, now: Date): Proof {
  const { text, expiresAt } = signSasToken(resourceOf(module), key, new Date(now.getTime() + TOKEN_LIFE));
  return { kind: 'token', token: text, expiresAt };
}

/** As encodeURIComponent, with `! ' ( ) *` encoded too; the SDK's encodeUriComponentStrict. */
const encodeStrictly = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Whose key it is, and the command that shows it. */
const SHOWN_BY = {
  module: 'az iot hub module-identity show',
  device: 'az iot hub device-identity show',
  enrolment: 'az iot dps enrollment show --show-keys',
  'enrolment group': 'az iot dps enrollment-group show --show-keys',
} as const;
export type KeyOwner = keyof typeof SHOWN_BY;

/**
 * Checks that a text can be a shared access key: base64 of 16 to 64 bytes.
 *
 * @param origin the file it was read from, for the message
 * @throws AgentError SECRET_FILE_MALFORMED
 */
export function checkedKey(key: string, origin: string, owner: KeyOwner = 'module'): string {
  const fault = faultOf(key);
  if (fault === undefined) return key;
  const remedy = `Copy the ${owner}'s primary key again, for example from: ${SHOWN_BY[owner]}.`;
  throw new AgentError('SECRET_FILE_MALFORMED', `the key in ${origin} ${fault}`, remedy);
}

/** For keys that are not from a file. */
export const isSharedAccessKey = (key: string): boolean => faultOf(key) === undefined;

function faultOf(key: string): string | undefined {
  if (key === '') return 'is missing';
  if (!BASE64.test(key)) return 'is not base64';
  const { length } = Buffer.from(key, 'base64');
  return length < 16 || length > 64 ? `has ${length} bytes instead of 16 to 64` : undefined;
}
