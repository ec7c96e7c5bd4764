import { randomBytes } from 'node:crypto';
import { type Duration, seconds } from '../base/duration.ts';
import type { ConnectionRecord } from './connection-log.ts';
import { FAULTS, type Fault, type Faults } from './faults.ts';
import type { EmulatedModule, ModuleId } from './identity.ts';
import { eventsIn, type ReceivedMessage } from './message-log.ts';
import type { MethodResult } from './method-calls.ts';
import { isObject, type Properties } from './twin-limits.ts';
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
  readonly faults: Faults;
  clearMessages(): void;
  addModule(module: EmulatedModule): unknown;
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

interface Call {
  readonly hub: ControlledHub;
  /** The values of the path's `{…}` parts, in order. */
  readonly parameters: readonly string[];
  readonly query: URLSearchParams;
  readonly body: unknown;
}

interface Route {
  readonly method: 'GET' | 'PUT' | 'PATCH' | 'POST' | 'DELETE';
  readonly path: string;
  readonly help: string;
  readonly takesBody?: boolean;
  readonly run: (call: Call) => unknown;
}

/** Names that need no encoding in a topic. */
const METHOD_NAME = /^[\w.~-]{1,100}$/;

export const ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/messages',
    help: 'Lists the messages received, oldest first; with ?after=SEQUENCE, only later ones.',
    run: ({ hub, query }) => ({ messages: later(hub, query) }),
  },
  { method: 'DELETE', path: '/messages', help: 'Deletes all messages.', run: ({ hub }) => hub.clearMessages() },
  {
    method: 'GET',
    path: '/events',
    help: 'Lists the events in the messages; with ?after=SEQUENCE, only those of later messages.',
    run: ({ hub, query }) => ({ events: eventsIn(later(hub, query)) }),
  },
  {
    method: 'GET',
    path: '/modules',
    help: 'Lists the modules, and whether each is connected.',
    run: ({ hub }) => ({ hostName: hub.hostName, port: hub.port, online: hub.isOnline, modules: hub.modules }),
  },
  {
    method: 'PUT',
    path: '/modules/{deviceId}/{moduleId}',
    help: 'Adds a module, or replaces its keys: {"primaryKey": base64, "secondaryKey": base64}, or {} for a random key.',
    takesBody: true,
    run: ({ hub, parameters: [deviceId = '', moduleId = ''], body }) => {
      const { primaryKey = randomBytes(32).toString('base64'), secondaryKey } = strings(body);
      hub.addModule({ deviceId, moduleId, primaryKey, ...(secondaryKey === undefined ? {} : { secondaryKey }) });
      return { deviceId, moduleId, connectionString: hub.connectionString(deviceId, moduleId) };
    },
  },
  {
    method: 'DELETE',
    path: '/modules/{deviceId}/{moduleId}',
    help: 'Removes a module and its twin, and closes its connection.',
    run: ({ hub, parameters }) => void hub.removeModule(...known(hub, parameters)),
  },
  {
    method: 'GET',
    path: '/twins/{deviceId}/{moduleId}',
    help: 'Shows the module twin.',
    run: ({ hub, parameters }) => hub.twin(...known(hub, parameters)),
  },
  {
    method: 'GET',
    path: '/twins/{deviceId}/{moduleId}/desired',
    help: 'Shows the desired properties.',
    run: ({ hub, parameters }) => hub.twin(...known(hub, parameters)).desired,
  },
  {
    method: 'PATCH',
    path: '/twins/{deviceId}/{moduleId}/desired',
    help: 'Merges into the desired properties (null removes), and notifies the module.',
    takesBody: true,
    run: ({ hub, parameters, body }) => {
      hub.patchDesired(...known(hub, parameters), object(body));
      return hub.twin(...known(hub, parameters)).desired;
    },
  },
  {
    method: 'PUT',
    path: '/twins/{deviceId}/{moduleId}/desired',
    help: 'Replaces the desired properties, and notifies the module.',
    takesBody: true,
    run: ({ hub, parameters, body }) => {
      hub.replaceDesired(...known(hub, parameters), object(body));
      return hub.twin(...known(hub, parameters)).desired;
    },
  },
  {
    method: 'POST',
    path: '/twins/{deviceId}/modules/{moduleId}/methods',
    help: 'Calls a direct method, as at a real hub: {"methodName": …, "payload": JSON, "responseTimeoutInSeconds": 30}.',
    takesBody: true,
    run: ({ hub, parameters, body }) => {
      const { methodName, payload, responseTimeoutInSeconds = 30 } = object(body);
      if (typeof methodName !== 'string' || !METHOD_NAME.test(methodName))
        throw new ControlError(400, '"methodName" must be a name of letters, digits and -._~');
      if (typeof responseTimeoutInSeconds !== 'number')
        throw new ControlError(400, '"responseTimeoutInSeconds" must be a number.');
      return hub.invokeMethod(...known(hub, parameters), methodName, payload, seconds(responseTimeoutInSeconds));
    },
  },
  {
    method: 'GET',
    path: '/connections',
    help: 'Lists connection attempts, oldest first, with the reason for each refusal and each end.',
    run: ({ hub }) => ({ connections: hub.connections }),
  },
  {
    method: 'GET',
    path: '/twin-operations',
    help: 'Lists the twin requests of the modules, oldest first. A real hub bills each.',
    run: ({ hub }) => ({ twinOperations: hub.twinOperations }),
  },
  {
    method: 'GET',
    path: '/faults',
    help: 'Lists the active faults.',
    run: ({ hub }) => ({ faults: hub.faults.active() }),
  },
  {
    method: 'POST',
    path: '/faults',
    help: 'Injects a fault: {"kind": …, "count": number of times, "durationMs": milliseconds, and the fields of its kind}.',
    takesBody: true,
    run: ({ hub, body }) => {
      hub.faults.inject(object(body) as unknown as Fault);
      return { faults: hub.faults.active() };
    },
  },
  { method: 'DELETE', path: '/faults', help: 'Clears all faults.', run: ({ hub }) => hub.faults.clear() },
  {
    method: 'POST',
    path: '/offline',
    help: 'Closes all connections and refuses new ones; messages and twins are kept.',
    run: ({ hub }) => hub.offline(),
  },
  { method: 'POST', path: '/online', help: 'Listens on the same port again.', run: ({ hub }) => hub.online() },
];

export const help = () => ({
  about: "The control API of Vakt's IoT Hub emulator.",
  routes: Object.fromEntries(ROUTES.map(({ method, path, help: text }) => [`${method} ${path}`, text])),
  faults: FAULTS,
});

function later({ messages }: ControlledHub, query: URLSearchParams): ReceivedMessage[] {
  const after = Number(query.get('after') ?? 0);
  if (!Number.isSafeInteger(after)) throw new ControlError(400, '"after" must be the sequence number of a message.');
  return messages.filter(({ sequence }) => sequence > after);
}

function known(hub: ControlledHub, [deviceId = '', moduleId = '']: readonly string[]): [string, string] {
  if (!hub.hasModule(deviceId, moduleId)) throw new ControlError(404, `Module ${deviceId}/${moduleId} does not exist.`);
  return [deviceId, moduleId];
}

function object(body: unknown): Properties {
  if (!isObject(body)) throw new ControlError(400, 'The body must be a JSON object.');
  return body;
}

function strings(body: unknown): Readonly<Record<string, string>> {
  for (const [name, value] of Object.entries(object(body))) {
    if (typeof value !== 'string') throw new ControlError(400, `"${name}" must be a string.`);
  }
  return body as Record<string, string>;
}
