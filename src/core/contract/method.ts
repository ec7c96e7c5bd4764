import type * as v from 'valibot';
import type { Duration } from '../base/duration.ts';

/** What can be disabled by the local file's `directMethods`, one by one. */
export const PERMISSIONS = [
  'ping',
  'collectNow',
  'flush',
  'pause',
  'setLogLevel',
  'getStatus',
  'getDiagnostics',
] as const;
export type Permission = (typeof PERMISSIONS)[number];

type Schema = v.GenericSchema<unknown, object>;

/** What every direct method declares. Its validation, documentation and JSON Schema are generated from it. */
interface Declaration<Q extends Schema, A extends Schema, Parts> {
  /** The name that callers use, for example `collectNow`. */
  readonly name: string;
  /** One sentence for the catalogue: what it does. */
  readonly summary: string;
  /** The permission that a call needs. */
  readonly permission: Permission;
  /** The payload of a call; no payload counts as `{}`. */
  readonly request: Q;
  /** The body of an answer with status 200. */
  readonly answer: A;
  /** Minimum time between the end of a call and the next call. Default: none. */
  readonly rest?: Duration;
  /** A minimum that the local file sets, if it is longer than `rest`. */
  readonly localRest?: (parts: Parts) => Duration;
  /**
   * Executes a call.
   *
   * @param parts the parts of the agent that methods use
   * @throws MethodRefusal when it is not possible now
   */
  run(request: v.InferOutput<Q>, parts: Parts): v.InferInput<A> | Promise<v.InferInput<A>>;
}

/** A direct method: the hub's owner calls it and waits for the answer. */
export type Method<Parts> = Declaration<Schema, Schema, Parts>;

/** Declares a direct method: `run` receives what `request` describes, and returns what `answer` describes. */
export const method = <Q extends Schema, A extends Schema, Parts>(declared: Declaration<Q, A, Parts>): Method<Parts> =>
  declared as unknown as Method<Parts>;

/** The device's answer; statuses as in HTTP. The hub passes both on unchanged. */
export interface MethodAnswer {
  readonly status: 200 | 400 | 403 | 404 | 409 | 429 | 500;
  readonly body: object;
}

/** A method can't be executed now; the message gives the reason. */
export class MethodRefusal extends Error {
  override readonly name = 'MethodRefusal';
}

/** Answers calls of direct methods. Never rejects, and settles within the usual timeout of callers. */
export interface MethodCalls {
  /**
   * @param payload JSON text as received, possibly empty
   * @returns `undefined` when the call is not answered, because there are too many
   */
  call(name: string, payload: Buffer): Promise<MethodAnswer | undefined>;
}
