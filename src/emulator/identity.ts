import { HUB_ID_PROBLEM, isHubId } from '../core/contract/hub-names.ts';

/** Identifies a module. Ids are case-sensitive. */
export interface ModuleId {
  readonly deviceId: string;
  readonly moduleId: string;
}

/** Identifies a device, or one of its modules. */
export interface IdentityId {
  readonly deviceId: string;
  readonly moduleId?: string | undefined;
}

/** How an identity authenticates. Source: "Understand the identity registry in your IoT hub", authentication.type. */
export type Credential =
  | {
      readonly type: 'sas';
      /** base64 */
      readonly primaryKey: string;
      /** base64 */
      readonly secondaryKey: string;
    }
  | {
      readonly type: 'selfSigned';
      /** SHA-1 or SHA-256 of the client certificate, as hexadecimal digits. */
      readonly primaryThumbprint: string;
      readonly secondaryThumbprint?: string;
    }
  /** A certificate whose chain ends at a registered authority, and whose CN is the device id or `deviceId/moduleId`. */
  | { readonly type: 'certificateAuthority' };

export type Status = 'enabled' | 'disabled';

/** The registry's data about a device or module. */
export interface Registration {
  readonly credential: Credential;
  /** A real hub has a status for devices only, which also applies to their modules. */
  readonly status: Status;
  /** Differs for an identity that was removed and added again under the same id. */
  readonly generationId: string;
  /** Changes with every change of the identity; without quotation marks. */
  readonly etag: string;
}

/** A device to add. Without a credential it gets random keys. */
export interface EmulatedDevice {
  readonly deviceId: string;
  readonly credential?: Credential;
  readonly status?: Status;
}

/** A module to add: with keys, or with another credential. Without either it gets random keys. */
export interface EmulatedModule extends ModuleId {
  /** base64 */
  readonly primaryKey?: string;
  /** base64; a random one by default */
  readonly secondaryKey?: string;
  /** Instead of the keys. */
  readonly credential?: Credential;
  readonly status?: Status;
}

/** An identity's name in maps and messages; a module's is also its MQTT client id. */
export const nameOf = ({ deviceId, moduleId }: IdentityId) =>
  moduleId === undefined ? deviceId : `${deviceId}/${moduleId}`;

const THUMBPRINT = /^(?:[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$/;

/** @throws RangeError if a hub would refuse to create an identity with this id and credential */
export function checkIdentity(id: IdentityId, credential: Credential): void {
  for (const part of [id.deviceId, id.moduleId]) {
    if (part !== undefined && !isHubId(part)) throw new RangeError(`"${part}" is not a valid id: it ${HUB_ID_PROBLEM}`);
  }
  if (credential.type === 'sas') {
    for (const key of [credential.primaryKey, credential.secondaryKey]) checkKey(key, `a key of ${nameOf(id)}`);
  } else if (credential.type === 'selfSigned') {
    const { primaryThumbprint, secondaryThumbprint } = credential;
    if (![primaryThumbprint, secondaryThumbprint ?? primaryThumbprint].every((text) => THUMBPRINT.test(text)))
      throw new RangeError(`a thumbprint of ${nameOf(id)} is not SHA-1 or SHA-256 in hexadecimal digits`);
  } else if (credential.type !== 'certificateAuthority') {
    throw new RangeError(`${nameOf(id)} has a credential of an unknown type`);
  }
}

/** @param label names the key in the error @throws RangeError if a hub would refuse it */
export function checkKey(key: string, label: string): void {
  const { length } = Buffer.from(key, 'base64');
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(key) || length < 16 || length > 64)
    throw new RangeError(`${label} is not base64 of 16 to 64 bytes`);
}
