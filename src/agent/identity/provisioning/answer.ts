import * as v from 'valibot';
import { type Duration, minutes, seconds } from '../../../core/base/duration.ts';
import { AssignedDevice, AssignedHub, type Assignment } from './assignment.ts';
import { cleaned, disabled, failed, misleading, refused, type Subject, throttled, unavailable } from './failures.ts';

/** An answer of the service, the same by HTTPS and MQTT. From outside: nothing in it is checked. */
export interface ServiceAnswer {
  /** As HTTP's; MQTT has it in the topic. */
  readonly status: number;
  /** The header Retry-After, or the parameter of MQTT's topic. */
  readonly retryAfter: string | undefined;
  readonly body: string;
}

/** How far the registration is. */
export type Progress =
  | { readonly kind: 'assigned'; readonly assignment: Assignment }
  /** Ask for the operation after `wait`. */
  | { readonly kind: 'assigning'; readonly operationId: string; readonly wait: Duration }
  /** The service could not answer; the registration continues. */
  | { readonly kind: 'busy'; readonly wait: Duration; readonly status: number };

/** The SDK's delay when the service names none. */
const DEFAULT_WAIT = seconds(2);
const SHORTEST_WAIT = seconds(1);
const LONGEST_WAIT = minutes(5);

/** In UTF-16 units. The id becomes a part of a path and of a topic. */
const LONGEST_OPERATION_ID = 256;

const Text = v.fallback(v.optional(v.string()), undefined);
const Result = v.object({
  operationId: v.fallback(
    v.optional(v.pipe(v.string(), v.regex(/^[\w.~:-]+$/), v.maxLength(LONGEST_OPERATION_ID))),
    undefined,
  ),
  status: Text,
  registrationState: v.fallback(
    v.optional(
      v.object({
        status: Text,
        assignedHub: v.fallback(v.optional(AssignedHub), undefined),
        deviceId: v.fallback(v.optional(AssignedDevice), undefined),
        errorCode: v.fallback(v.optional(v.pipe(v.number(), v.safeInteger())), undefined),
        errorMessage: Text,
      }),
    ),
    undefined,
  ),
});

/**
 * Reads the answer to a registration, or to a question for its operation.
 *
 * @throws HubFailure that it is refused, failed or disabled; that the service is busy; that this is not the service
 */
export function readAnswer(answer: ServiceAnswer, subject: Subject): Progress {
  const { status } = answer;
  if (status === 200 || status === 202) return readResult(answer, subject);
  if (status === 429 || status >= 500) return { kind: 'busy', wait: waitOf(answer.retryAfter), status };
  if (status >= 400) throw refused(subject, String(status), messageIn(answer.body));
  throw misleading(subject, `the status ${status}`);
}

/** The failure of a registration that did not begin because the service was busy. */
export const busy = (subject: Subject, { status, retryAfter }: ServiceAnswer) => {
  const after = retryAfter === undefined ? undefined : waitOf(retryAfter);
  return status === 429
    ? throttled(subject, after)
    : unavailable(subject, `can't register devices now (${status})`, after);
};

function readResult({ body, retryAfter }: ServiceAnswer, subject: Subject): Progress {
  const read = v.safeParse(Result, json(body));
  if (!read.success) throw misleading(subject, 'something else than a registration');
  const { operationId, status, registrationState: state } = read.output;
  switch ((status ?? state?.status)?.toLowerCase()) {
    case 'assigned':
      return assigned(state, subject);
    case 'assigning':
    case 'unassigned':
      if (operationId === undefined) throw misleading(subject, 'a registration without a usable operation id');
      return { kind: 'assigning', operationId, wait: waitOf(retryAfter) };
    case 'failed':
      throw failed(subject, state?.errorCode, cleaned(state?.errorMessage ?? ''));
    case 'disabled':
      throw disabled(subject);
    default:
      throw misleading(subject, 'something else than a registration');
  }
}

/** The answer to a lookup is the state itself. @returns `undefined` if the device is not assigned */
export function readState(body: string): Assignment | undefined {
  const read = v.safeParse(
    v.object({ status: v.literal('assigned'), assignedHub: AssignedHub, deviceId: AssignedDevice }),
    json(body),
  );
  return read.success ? { hub: read.output.assignedHub, deviceId: read.output.deviceId } : undefined;
}

function assigned(
  state: { readonly assignedHub?: string | undefined; readonly deviceId?: string | undefined } | undefined,
  subject: Subject,
): Progress {
  const { assignedHub: hub, deviceId } = state ?? {};
  if (hub === undefined) throw misleading(subject, 'an assignment without a valid hub');
  if (deviceId === undefined) throw misleading(subject, 'an assignment without a valid device id');
  return { kind: 'assigned', assignment: { hub, deviceId } };
}

/** The body of an error: `{errorCode, message, …}`. @returns the message, cleaned; empty if there is none */
export function messageIn(body: string): string {
  const details = v.safeParse(v.object({ errorCode: v.optional(v.unknown()), message: Text }), json(body));
  if (!details.success) return '';
  const { errorCode, message = '' } = details.output;
  return cleaned(Number.isSafeInteger(errorCode) ? `${errorCode} ${message}` : message);
}

/** Whole seconds, from 1 s to 5 min; a date, which the service does not use, counts as absent. */
export function waitOf(retryAfter: string | undefined): Duration {
  const text = retryAfter?.trim() ?? '';
  if (!/^\d+$/.test(text)) return DEFAULT_WAIT;
  return seconds(Math.min(Math.max(Number(text), SHORTEST_WAIT / 1_000), LONGEST_WAIT / 1_000));
}

/** In UTF-16 units. An answer of the service has 2 KB. */
const LONGEST_BODY = 64 * 1024;

function json(text: string): unknown {
  if (text.length > LONGEST_BODY) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
