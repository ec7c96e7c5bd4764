import * as v from 'valibot';
import { type Clock, TimeLimitError } from '../../core/base/clock.ts';
import { type Duration, minutes, seconds } from '../../core/base/duration.ts';
import { messageOf, toAgentError } from '../../core/base/errors.ts';
import { type Logger, logError } from '../../core/base/log.ts';
import { TokenBucket } from '../../core/base/token-bucket.ts';
import {
  type Method,
  type MethodAnswer,
  type MethodCalls,
  MethodRefusal,
  type Permission,
} from '../../core/contract/method.ts';
import { isDeeperThan } from './incoming.ts';

/** Calls of one method. Calling getStatus every second stays below this. */
const OF_ONE = { max: 30, perSecond: 3 };
const OF_ALL = { max: 60, perSecond: 6 };
/** Answers with status 429. Calls beyond this are not answered. */
const REFUSALS = { max: 30, perSecond: 3 };
/** Minimum interval between two log lines about refused calls. */
const LOG_INTERVAL = minutes(1);

/** Rate limit for direct method calls, so that a caller can't keep the device busy. */
export class CallLimit {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #all: TokenBucket;
  readonly #refusals: TokenBucket;
  readonly #each = new Map<string, TokenBucket>();
  #loggedAt: Duration | undefined;
  #refused = 0;
  #unanswered = 0;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
    this.#all = new TokenBucket({ ...OF_ALL, clock });
    this.#refusals = new TokenBucket({ ...REFUSALS, clock });
  }

  /** @param name one of a fixed set, since each gets a bucket: callers pass one common name for unknown methods */
  admit(name: string): 'do' | 'refuse' | 'ignore' {
    this.#logCounts();
    const each = this.#each.get(name) ?? new TokenBucket({ ...OF_ONE, clock: this.#clock });
    this.#each.set(name, each);
    if (each.take() && this.#all.take()) return 'do';
    const isAnswered = this.#refusals.take();
    if (isAnswered) this.#refused += 1;
    else this.#unanswered += 1;
    this.#logCounts();
    return isAnswered ? 'refuse' : 'ignore';
  }

  /** Logs the first refusal at once, later ones at most once a minute; the remaining count is logged at a later call. */
  #logCounts(): void {
    const now = this.#clock.monotonic();
    if (this.#refused + this.#unanswered === 0) return;
    if (this.#loggedAt !== undefined && now - this.#loggedAt < LOG_INTERVAL) return;
    const counts = { refused: this.#refused, unanswered: this.#unanswered };
    this.#log.warn(counts, 'Direct methods are called too often; some calls were refused or not answered.');
    this.#loggedAt = now;
    this.#refused = 0;
    this.#unanswered = 0;
  }
}

/** Limit for a call's payload, in bytes. A hub allows 128 KiB; the agent's methods need less than a tenth of this. */
const LARGEST_PAYLOAD = 16 * 1024;
const MAX_DEPTH = 8;
const MAX_FAULTS = 16;
const LONGEST_NAME = 64;
/** Limit for an answer, in bytes of JSON. A hub accepts 128 KiB. */
const LARGEST_ANSWER = 100 * 1024;
/**
 * A call times out at the hub after 30 s unless its caller set another limit, which the device doesn't learn.
 * Source: "Understand and invoke direct methods", Azure IoT Hub developer guide.
 */
export const ANSWER_WITHIN = seconds(25);

/**
 * Runs direct methods: checks the rate, the permission and the payload, and that no method runs twice at once.
 *
 * A call is answered within 25 s. A method that takes longer continues, and further calls of it are refused until it ends.
 */
export class DirectMethods<Parts> implements MethodCalls {
  readonly #methods: ReadonlyMap<string, Method<Parts>>;
  readonly #permissions: Readonly<Record<Permission, boolean>>;
  readonly #parts: Parts;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #limit: CallLimit;
  readonly #running = new Set<string>();
  readonly #endedAt = new Map<string, Duration>();

  constructor(options: {
    methods: readonly Method<Parts>[];
    permissions: Readonly<Record<Permission, boolean>>;
    parts: Parts;
    clock: Clock;
    log: Logger;
  }) {
    this.#methods = new Map(options.methods.map((method) => [method.name, method]));
    this.#permissions = options.permissions;
    this.#parts = options.parts;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#limit = new CallLimit(options.clock, options.log);
  }

  async call(name: string, payload: Buffer): Promise<MethodAnswer | undefined> {
    const method = this.#methods.has(name) ? name : 'unknown'; // the caller chooses the name; keep it out of the log
    const admitted = this.#limit.admit(method);
    if (admitted === 'ignore') return undefined;
    if (admitted === 'refuse') {
      return refusal(429, 'Too many direct method calls.', { retryAfterSeconds: 1 });
    }
    const answer = bounded(await this.#answer(name, payload).catch((error) => this.#defect(error)));
    this.#log.info({ method, status: answer.status }, 'Answered a direct method.');
    return answer;
  }

  async #answer(name: string, payload: Buffer): Promise<MethodAnswer> {
    const method = this.#methods.get(name);
    if (method === undefined) {
      return refusal(404, 'Unknown method.', { methods: [...this.#methods.keys()] });
    }
    if (!this.#permissions[method.permission]) {
      return refusal(403, `directMethods.${method.permission} is false in the agent's local configuration.`);
    }
    const request = read(payload, method.request);
    if ('faults' in request) return refusal(400, 'The payload is not valid.', { faults: request.faults });
    if (this.#running.has(name)) return refusal(409, `Another ${name} is running; call again when it has answered.`);
    const wait = this.#restOf(method);
    if (wait > 0) {
      const retryAfterSeconds = Math.ceil(wait / 1_000);
      return refusal(429, `${name} was called again too soon.`, { retryAfterSeconds });
    }
    return this.#run(method, request.value);
  }

  #restOf({ name, rest, localRest }: Method<Parts>): number {
    const endedAt = this.#endedAt.get(name);
    if (rest === undefined || endedAt === undefined) return 0;
    return endedAt + Math.max(rest, localRest?.(this.#parts) ?? 0) - this.#clock.monotonic();
  }

  async #run(method: Method<Parts>, request: object): Promise<MethodAnswer> {
    const { name } = method;
    this.#running.add(name);
    const work = (async () => method.run(request, this.#parts))().finally(() => {
      this.#running.delete(name);
      this.#endedAt.set(name, this.#clock.monotonic());
    });
    try {
      return { status: 200, body: (await this.#clock.within(ANSWER_WITHIN, name, work)) as object };
    } catch (error) {
      if (error instanceof MethodRefusal) return refusal(409, error.message);
      if (error instanceof TimeLimitError) return refusal(500, `${error.message}. It continues; call again later.`);
      return this.#defect(error);
    }
  }

  #defect(error: unknown): MethodAnswer {
    logError(this.#log, toAgentError(error));
    return refusal(500, `Internal error: ${messageOf(error)}`);
  }
}

const refusal = (status: MethodAnswer['status'], error: string, more: object = {}): MethodAnswer => ({
  status,
  body: { error, ...more },
});

/** Parses and validates a payload. `faults` maps the path of each invalid member to its problem. */
function read(payload: Buffer, schema: Method<unknown>['request']): { value: object } | { faults: object } {
  const whole = (problem: string) => ({ faults: { '(the whole)': problem } });
  if (payload.length > LARGEST_PAYLOAD) return whole(`has ${payload.length} bytes, more than ${LARGEST_PAYLOAD}`);
  const text = payload.toString();
  if (isDeeperThan(MAX_DEPTH, text)) return whole(`is nested deeper than ${MAX_DEPTH} levels`);
  let value: unknown;
  try {
    value = text.trim() === '' ? {} : JSON.parse(text);
  } catch (error) {
    return whole(`is not JSON: ${messageOf(error)}`);
  }
  if (Array.isArray(value)) return whole('must be an object, not a list'); // the schema would accept a list
  const result = v.safeParse(schema, value ?? {});
  const faults = [
    ...unknownMembers(value, schema).map((name) => [cut(name), 'is not known'] as const),
    ...(result.issues ?? [])
      .filter(({ expected, path }) => expected !== 'never' || path?.length !== 1) // the schema names only the first unknown one
      .map((issue) => [cut(v.getDotPath(issue) ?? '(the whole)'), problemOf(issue)] as const),
  ];
  if (result.success && faults.length === 0) return { value: result.output };
  return { faults: Object.fromEntries(faults.slice(0, MAX_FAULTS)) };
}

function unknownMembers(value: unknown, schema: object): string[] {
  if (typeof value !== 'object' || value === null || !('entries' in schema)) return [];
  return Object.keys(value).filter((name) => !Object.hasOwn(schema.entries as object, name));
}

const cut = (name: string) => (name.length <= LONGEST_NAME ? name : `${name.slice(0, LONGEST_NAME - 1)}…`);

function problemOf({ input, expected, type, message }: v.BaseIssue<unknown>): string {
  if (expected === 'never') return 'is not known';
  if (input === undefined) return 'is missing';
  return type === 'strict_object' ? 'must be an object' : message;
}

function bounded(answer: MethodAnswer): MethodAnswer {
  const bytes = Buffer.byteLength(JSON.stringify(answer.body));
  return bytes <= LARGEST_ANSWER
    ? answer
    : refusal(500, `The answer has ${bytes} bytes; the limit is ${LARGEST_ANSWER}.`);
}
