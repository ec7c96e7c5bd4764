import type { Duration } from '../core/base/duration.ts';
import { isPlainObject } from '../core/base/values.ts';
import type { ConnectionRecord } from './connection-log.ts';
import type { Faults } from './faults.ts';
import type { EmulatedDevice, EmulatedModule, IdentityId, ModuleId, Status } from './identity.ts';
import type { ReceivedMessage } from './message-log.ts';
import type { MethodResult } from './method-calls.ts';
import type { RegisteredDevice, RegisteredModule } from './registry.ts';
import type { RestRequest } from './rest-api.ts';
import type { Properties } from './twin-limits.ts';
import type { TwinOperation } from './twin-requests.ts';

/** The part of the emulator that the control API can read and change. */
export interface ControlledHub {
  readonly hostName: string;
  readonly port: number;
  readonly isOnline: boolean;
  readonly modules: readonly (ModuleId & { connected: boolean })[];
  readonly messages: readonly ReceivedMessage[];
  readonly connections: readonly ConnectionRecord[];
  readonly twinOperations: readonly TwinOperation[];
  readonly restRequests: readonly RestRequest[];
  readonly devices: readonly RegisteredDevice[];
  readonly restPort: number;
  readonly webSocketPort: number;
  readonly faults: Faults;
  clearMessages(): void;
  addDevice(device: EmulatedDevice): RegisteredDevice;
  removeDevice(deviceId: string): boolean;
  setStatus(status: Status, deviceId: string, moduleId?: string): void;
  regenerateKeys(id: IdentityId): { readonly primaryKey: string; readonly secondaryKey: string };
  addClientAuthority(pem: string): void;
  addModule(module: EmulatedModule): RegisteredModule;
  removeModule(deviceId: string, moduleId: string): boolean;
  connectionString(deviceId: string, moduleId: string): string;
  hasModule(deviceId: string, moduleId: string): boolean;
  twin(deviceId: string, moduleId: string): { desired: object; reported: object };
  patchDesired(deviceId: string, moduleId: string, patch: Properties): void;
  replaceDesired(deviceId: string, moduleId: string, properties: Properties): void;
  invokeMethod(
    deviceId: string,
    moduleId: string,
    name: string,
    payload: unknown,
    limit: Duration,
  ): Promise<MethodResult>;
  offline(): Promise<void>;
  online(): Promise<void>;
}

/** An invalid request, with the HTTP status to answer. */
export class ControlError extends Error {
  override readonly name = 'ControlError';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** A request to a route. */
export interface ControlCall {
  readonly hub: ControlledHub;
  /** The values of the path's `{…}` parts, in order. */
  readonly parameters: readonly string[];
  readonly query: URLSearchParams;
  readonly body: unknown;
}

export interface ControlRoute {
  readonly method: 'GET' | 'PUT' | 'PATCH' | 'POST' | 'DELETE';
  readonly path: string;
  readonly help: string;
  readonly takesBody?: boolean;
  readonly run: (call: ControlCall) => unknown;
}

/** The ids in the path of an existing module. @throws ControlError 404 */
export function known(hub: ControlledHub, [deviceId = '', moduleId = '']: readonly string[]): [string, string] {
  if (!hub.hasModule(deviceId, moduleId)) throw new ControlError(404, `Module ${deviceId}/${moduleId} does not exist.`);
  return [deviceId, moduleId];
}

/** @throws ControlError 400 */
export function object(body: unknown): Properties {
  if (!isPlainObject(body)) throw new ControlError(400, 'The body must be a JSON object.');
  return body;
}

/** @throws ControlError 400 */
export function strings(body: unknown): Readonly<Record<string, string>> {
  for (const [name, value] of Object.entries(object(body))) {
    if (typeof value !== 'string') throw new ControlError(400, `"${name}" must be a string.`);
  }
  return body as Record<string, string>;
}
