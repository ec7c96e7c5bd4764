import { createHmac, type X509Certificate } from 'node:crypto';
import type { Credential } from '../identity.ts';

/** A hub to which devices can be assigned: the part of HubEmulator that provisioning changes. */
export interface HubRegistry {
  /** Sent to devices as `assignedHub`. */
  readonly hostName: string;
  getDevice(deviceId: string): object | undefined;
  /** Adds a device, or replaces the credential of an existing one. */
  addDevice(device: { readonly deviceId: string; readonly credential: Credential }): unknown;
  /** Removes a device with its modules, and closes their connections. */
  removeDevice(deviceId: string): unknown;
}

/** What happens to a device's data if it is assigned to another hub. Source: "IoT Hub Device reprovisioning concepts". */
export type Reprovisioning = 'migrate' | 'reset' | 'never';

interface EnrollmentOptions {
  /** The hub to which devices are assigned. Default: the service's first hub. */
  readonly hub?: HubRegistry;
  /** Registrations of a disabled enrolment end with the status `disabled`. Default `enabled`. */
  readonly status?: 'enabled' | 'disabled';
  /** Default `migrate`. */
  readonly reprovisioning?: Reprovisioning;
}

/** One device. Without a credential it gets random keys. */
export interface IndividualEnrollment extends EnrollmentOptions {
  readonly registrationId: string;
  /** Default: the registration id. */
  readonly deviceId?: string;
  /** base64, 16 to 64 bytes */
  readonly primaryKey?: string;
  readonly secondaryKey?: string;
  /** Instead of the keys: SHA-1 or SHA-256 of the client certificate, in hexadecimal digits. */
  readonly thumbprint?: string;
  readonly secondaryThumbprint?: string;
}

/** Devices that share a key from which theirs are derived, or an authority that signs their certificates. */
export interface EnrollmentGroup extends EnrollmentOptions {
  readonly name: string;
  /** base64, 16 to 64 bytes */
  readonly primaryKey?: string;
  readonly secondaryKey?: string;
  /** Instead of the keys: the certificate of a root or intermediate authority. */
  readonly caPem?: string;
}

/** How a device authenticates to the service. */
export type Attestation =
  | { readonly type: 'keys'; readonly primaryKey: string; readonly secondaryKey: string }
  | { readonly type: 'groupKeys'; readonly primaryKey: string; readonly secondaryKey: string }
  | { readonly type: 'thumbprint'; readonly credential: Credential & { type: 'selfSigned' } }
  | { readonly type: 'certificateAuthority'; readonly authority: X509Certificate };

/** An enrolment of either kind. */
export interface Enrollment {
  /** The registration id, or the name of the group. */
  readonly id: string;
  /** Omitted for a group. */
  readonly deviceId?: string;
  readonly attestation: Attestation;
  readonly hub: HubRegistry;
  readonly status: 'enabled' | 'disabled';
  readonly reprovisioning: Reprovisioning;
}

/** Registration ids are case-insensitive. Source: REST reference, "Register Device". */
export const registrationKey = (registrationId: string) => registrationId.toLowerCase();

/** Source: "Terminology used with Azure IoT Hub Device Provisioning Service", Registration ID. */
const REGISTRATION_ID = /^[A-Za-z0-9._:-]{0,127}[A-Za-z0-9-]$/;

export const isRegistrationId = (text: string): boolean => REGISTRATION_ID.test(text);

/**
 * The key of a device in a group.
 * Source: "Symmetric key attestation with DPS", Group enrollments.
 */
export const deriveDeviceKey = (groupKey: string, registrationId: string): string =>
  createHmac('sha256', Buffer.from(groupKey, 'base64')).update(registrationId).digest('base64');

/** @throws RangeError if the service would refuse this key */
export function checkKey(key: string): void {
  const { length } = Buffer.from(key, 'base64');
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(key) || length < 16 || length > 64)
    throw new RangeError('a key of an enrolment must be base64 of 16 to 64 bytes');
}
