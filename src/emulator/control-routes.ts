import { seconds } from '../core/base/duration.ts';
import { ControlError, type ControlledHub, type ControlRoute, known, object } from './control-call.ts';
import { REGISTRY_ROUTES } from './control-registry.ts';
import { FAULTS, type Fault } from './faults.ts';
import { eventsIn, type ReceivedMessage } from './message-log.ts';

/** Names that need no encoding in a topic. */
const METHOD_NAME = /^[\w.~-]{1,100}$/;

export const ROUTES: readonly ControlRoute[] = [
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
  ...REGISTRY_ROUTES,
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
    help: 'Lists connection attempts, oldest first, with the reason for each refusal and each close.',
    run: ({ hub }) => ({ connections: hub.connections }),
  },
  {
    method: 'GET',
    path: '/rest-requests',
    help: 'Lists the requests to the REST API, oldest first, with the reason for each refusal.',
    run: ({ hub }) => ({ restRequests: hub.restRequests }),
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
