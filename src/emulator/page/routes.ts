import { seconds } from '../../core/base/duration.ts';
import { printableJson } from '../../core/base/text.ts';
import { isPlainObject } from '../../core/base/values.ts';
import type { Dialect } from '../../core/twin/dialect.ts';
import { readTwin } from '../../core/twin/twin.ts';
import type { Fault, FaultKind } from '../faults.ts';
import type { HubEmulator } from '../hub.ts';
import { RequestError } from './guard.ts';
import type { Finding, TwinCheck, TwinView } from './protocol.ts';

type Section = Readonly<Record<string, unknown>>;

/**
 * Validates a desired section as the agent does, except for the limits of its local file, which the hub does not know.
 */
export function checkDesired(desired: Section, dialect: Dialect): TwinCheck {
  const reading = readTwin(dialect.documentIn(desired), dialect);
  const unknown = Object.entries(dialect.unknownNames(desired)).map(([name, message]) => ({ name, message }));
  const plain = (faults: readonly Finding[]) => faults.map(({ name, message }) => ({ name, message }));
  return reading.ok
    ? { faults: [], warnings: [...unknown, ...plain(reading.warnings)] }
    : { faults: plain(reading.faults), warnings: unknown };
}

/** The patch that turns `before` into `after` (RFC 7396): `null` removes. */
export function patchBetween(before: Section, after: Section): Section {
  const removed = Object.keys(before).filter((name) => !Object.hasOwn(after, name));
  const changes = Object.entries(after).flatMap(([name, value]): [string, unknown][] => {
    const old = Object.hasOwn(before, name) ? before[name] : undefined;
    if (JSON.stringify(old) === JSON.stringify(value)) return [];
    return [[name, isPlainObject(old) && isPlainObject(value) ? patchBetween(old, value) : value]];
  });
  return Object.fromEntries([...removed.map((name) => [name, null] as const), ...changes]);
}

/** The request of a route, with the hub. */
export interface Call {
  readonly hub: HubEmulator;
  readonly dialect: Dialect;
  readonly query: URLSearchParams;
  /** Body of a POST or PUT; otherwise empty. */
  readonly body: Readonly<Record<string, unknown>>;
}

/** A desired configuration that was not sent, since the agent would reject it. */
export class FaultyDesired extends RequestError {
  readonly check: TwinCheck;

  constructor(check: TwinCheck) {
    super(422, 'Not sent: the agent would reject this configuration.');
    this.check = check;
  }
}

/** Names that need no encoding in a topic. */
const METHOD_NAME = /^[\w.~-]{1,100}$/;
const FAULT_FIELDS = ['count', 'durationMs', 'ms', 'status', 'perMinute', 'text', 'twinSays'] as const;

/** Keyed by method and path. Each route returns the body of its answer. */
export const ROUTES: Readonly<Record<string, (call: Call) => unknown>> = {
  'GET /api/message': ({ hub, query }) => {
    const sequence = Number(query.get('sequence'));
    const message = hub.messages.find((each) => each.sequence === sequence);
    if (message === undefined) throw new RequestError(404, 'The hub no longer stores this message.');
    const { enqueuedAt, deviceId, moduleId, body, sequence: _, ...rest } = message;
    const ordered = { sequence, enqueuedAt, deviceId, moduleId, body: parsed(body), ...rest };
    return { text: printableJson(JSON.stringify(ordered, null, 2)) };
  },

  'GET /api/twin': ({ hub, query }) => {
    const { desired, reported } = hub.twin(...moduleIn(hub, Object.fromEntries(query)));
    const { $version: desiredVersion, ...desiredProperties } = desired;
    const { $version: reportedVersion, ...reportedProperties } = reported;
    return {
      desired: desiredProperties,
      reported: reportedProperties,
      desiredVersion,
      reportedVersion,
    } satisfies TwinView;
  },

  'POST /api/twin/check': ({ dialect, body }) => checkDesired(object(body, 'desired'), dialect),

  'PUT /api/twin': ({ hub, dialect, body }) => {
    const module = moduleIn(hub, body);
    const desired = object(body, 'desired');
    const { $version, ...before } = hub.twin(...module).desired;
    if (body.version !== $version)
      throw new RequestError(
        412,
        'Not sent: the desired properties have changed in the meantime. Discard your changes to see them.',
      );
    const check = checkDesired(desired, dialect);
    if (check.faults.length > 0 && body.force !== true) throw new FaultyDesired(check);
    hub.patchDesired(...module, patchBetween(before, desired));
    return check;
  },

  'POST /api/method': ({ hub, body }) => {
    const { name, payload } = body;
    if (typeof name !== 'string' || !METHOD_NAME.test(name))
      throw new RequestError(400, '"name" must be a name of letters, digits and -._~');
    return hub.invokeMethod(...moduleIn(hub, body), name, payload, seconds(30)).then(({ status, payload: answer }) => ({
      status,
      text: printableJson(JSON.stringify(answer, null, 2)),
    }));
  },

  'POST /api/fault': ({ hub, body }) => {
    const fields = FAULT_FIELDS.filter((name) => body[name] !== undefined).map((name) => [name, body[name]]);
    hub.faults.inject({ ...Object.fromEntries(fields), kind: body.kind } as Fault);
  },

  'DELETE /api/fault': ({ hub, query }) => {
    const kind = query.get('kind');
    hub.faults.clear(kind === null ? undefined : (kind as FaultKind));
  },

  'POST /api/disconnect': ({ hub, body }) => {
    const [deviceId, moduleId] = moduleIn(hub, body);
    hub.disconnect(deviceId, moduleId, 'closed on the page');
  },

  'POST /api/offline': ({ hub }) => hub.offline(),
  'POST /api/online': ({ hub }) => hub.online(),
};

/** Parses a JSON body for display; any other body stays unchanged. */
function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}

/** @throws RequestError 404 if the hub has no such module */
function moduleIn(hub: HubEmulator, { deviceId, moduleId }: Readonly<Record<string, unknown>>): [string, string] {
  if (typeof deviceId !== 'string' || typeof moduleId !== 'string' || !hub.hasModule(deviceId, moduleId))
    throw new RequestError(404, 'The hub has no such module.');
  return [deviceId, moduleId];
}

/** @throws RequestError 400 */
function object(body: Readonly<Record<string, unknown>>, name: string): Readonly<Record<string, unknown>> {
  const value = body[name];
  if (!isPlainObject(value)) throw new RequestError(400, `"${name}" must be a JSON object.`);
  return value;
}
