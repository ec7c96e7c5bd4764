import type { Clock } from '../core/base/clock.ts';
import type { Connection } from './connection.ts';
import type { Faults } from './faults.ts';
import type { ModuleId } from './identity.ts';
import { type Request, TWIN_RESPONSES, twinResponseTopic } from './topics.ts';
import type { Twin } from './twin.ts';
import { TwinError } from './twin-limits.ts';

export type TwinRequest = Extract<Request, { kind: 'getTwin' | 'patchReported' }>;

/** A module's twin request. A real hub bills each. */
export interface TwinOperation extends ModuleId {
  readonly at: Date;
  readonly kind: TwinRequest['kind'];
  /** The status answered; omitted if a fault suppressed the answer. */
  readonly status?: number;
}

/**
 * Answers a module's twin request. The answer is sent only if the module has subscribed to twin responses.
 * Source: "Communicate with an IoT hub using the MQTT protocol".
 *
 * @returns the status answered, or `undefined` if a fault suppressed the answer
 */
export function serveTwin(
  request: TwinRequest,
  body: string,
  { twin, connection, faults, clock }: { twin: Twin; connection: Connection; faults: Faults; clock: Clock },
): number | undefined {
  const answer = (status: number, payload: string, version?: number) => {
    connection.send(TWIN_RESPONSES, twinResponseTopic(status, request.requestId, version), payload);
    return status;
  };
  const fail = ({ status, errorCode, message }: { status: number; errorCode: number; message: string }) =>
    answer(status, JSON.stringify({ errorCode, message, timestampUtc: clock.now().toISOString() }));

  if (faults.trigger('twinSilence') !== undefined) return undefined;
  if (faults.trigger('twinGarbage') !== undefined) return answer(200, '<html>This is not a twin.</html>');
  if (faults.trigger('quotaExceeded') !== undefined)
    return fail({ status: 403, errorCode: 403002, message: 'Total number of messages exceeded the allocated quota.' });
  const fault = faults.trigger('twinStatus');
  if (fault !== undefined) {
    const { status = 500, emptyBody = false } = fault;
    return emptyBody ? answer(status, '') : fail({ status, errorCode: status * 1_000 + 1, message: 'A fault.' });
  }
  if (request.kind === 'getTwin') return answer(200, JSON.stringify(twin.document()));
  try {
    return answer(204, '', twin.patchReported(parse(body), request.baseVersion));
  } catch (error) {
    if (error instanceof TwinError) return fail(error);
    throw error;
  }
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw new TwinError(400, 400006, 'The body is not JSON.');
  }
}
