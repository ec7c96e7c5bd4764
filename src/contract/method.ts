import type * as v from 'valibot';
import type { Duration } from '../base/duration.ts';

/** What the local file's `directMethods` can switch off, one by one. */
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

/** What every direct method declares. Its check, its documentation and its JSON Schema are made from this. */
interface Declaration<Q extends Schema, A extends Schema, Parts> {
  /** As it is called, for example `collectNow`. */
  readonly name: string;
  /** One sentence for the catalogue: what it does. */
  readonly summary: string;
  /** What must be switched on for it. */
  readonly permission: Permission;
  /** The payload of a call; an absent one counts as `{}`. */
  readonly request: Q;
  /** The body of an answer with status 200. */
  readonly answer: A;
  /** How long after one call the next may come; absent: at once. */
  readonly rest?: Duration;
  /**
   * Does it. What can't be done now throws MethodRefusal.
   *
   * @param parts of the agent, as far as methods know them
   */
  run(request: v.InferOutput<Q>, parts: Parts): v.InferInput<A> | Promise<v.InferInput<A>>;
}

/** Something the hub's owner can have the agent do, and wait for the answer. */
export type Method<Parts> = Declaration<Schema, Schema, Parts>;

/** Declares a direct method: `run` takes what `request` describes, and answers what `answer` describes. */
export const method = <Q extends Schema, A extends Schema, Parts>(declared: Declaration<Q, A, Parts>): Method<Parts> =>
  declared as unknown as Method<Parts>;

/** As the device answers; statuses as in HTTP. The hub passes both on as they are. */
export interface MethodAnswer {
  readonly status: 200 | 400 | 403 | 404 | 409 | 429 | 500;
  readonly body: object;
}

/** Why a method can't be done now. */
export class MethodRefusal extends Error {
  override readonly name = 'MethodRefusal';
}

/** Answers calls of direct methods. Never rejects, and settles within the time that callers usually wait. */
export interface MethodCalls {
  /**
   * @param payload JSON text as it came, perhaps empty
   * @returns nothing when it is not answered, since too many calls come
   */
  call(name: string, payload: Buffer): Promise<MethodAnswer | undefined>;
}
