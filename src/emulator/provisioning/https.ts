import type { TLSSocket } from 'node:tls';
import { certificatesOf } from '../client-certificates.ts';
import {
  type HttpServiceOptions,
  type ServiceAnswer,
  type ServiceRequest,
  type ServiceRoute,
  text,
} from '../service/http.ts';
import { errorDetails } from './errors.ts';
import type { Answer, Caller, Registrations } from './registrations.ts';

/** The routes of the device API. Source: REST reference, "Runtime Registration". */
export function provisioningRoutes(registrations: Registrations): ServiceRoute[] {
  const subject = ([, registrationId]: readonly string[]) => registrationId;
  const route = (
    method: ServiceRoute['method'],
    path: string,
    operation: string,
    run: (caller: Caller, request: ServiceRequest) => Answer,
  ): ServiceRoute => ({
    method,
    path: `/{idScope}/registrations/{registrationId}${path}`,
    operation,
    subject,
    run: (request) =>
      request.query.get('api-version') === null ? MISSING_VERSION : toHttp(run(callerOf(request), request)),
  });
  return [
    route('PUT', '/register', 'register', (caller, { body }) => registrations.register(caller, body)),
    route('GET', '/operations/{operationId}', 'operation', (caller, { parameters }) =>
      registrations.operationStatus(caller, parameters[2] ?? ''),
    ),
    route('POST', '', 'lookUp', (caller) => registrations.lookUp(caller)),
  ];
}

const MISSING_VERSION: ServiceAnswer = {
  status: 400,
  body: { errorCode: 400004, message: 'The api-version is missing' },
  reason: 'the api-version is missing',
};

/** Body of errors that occur before a route runs, and of faults. */
export const httpErrorBody =
  (now: () => Date): HttpServiceOptions['errorBody'] =>
  (status, message) =>
    errorDetails(status * 1_000 + (status === 401 ? 2 : 1), message, now());

const callerOf = ({ parameters: [idScope = '', registrationId = ''], headers, socket }: ServiceRequest): Caller => ({
  idScope,
  registrationId,
  proof: { chain: certificatesOf(socket as TLSSocket), token: text(headers, 'authorization') },
});

const toHttp = ({ status, body, retryAfterSeconds, reason }: Answer): ServiceAnswer => ({
  status,
  body,
  headers: retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) },
  ...(reason === undefined ? {} : { reason }),
});
