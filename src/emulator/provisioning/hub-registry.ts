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
