import { randomBytes } from 'node:crypto';
import type { Clock } from '../../core/base/clock.ts';
import { type Attested, attest, type Proof } from './attest.ts';
import { type Enrollment, type HubRegistry, isRegistrationId, registrationKey } from './enrollments.ts';
import { badRequest, errorDetails, ProvisioningError, unauthorized, unknownOperation } from './errors.ts';

/** The result of a registration that a test makes fail. */
export interface Failure {
  /** Six digits, such as 400207. */
  readonly errorCode: number;
  readonly errorMessage: string;
}

/** The service's data about a registered device. Source: REST reference, DeviceRegistrationResult. */
interface Registration {
  readonly registrationId: string;
  readonly deviceId: string;
  /** `undefined` for an individual enrolment. */
  readonly enrollmentGroupId: string | undefined;
  readonly hub: HubRegistry;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly substatus: Substatus;
  readonly etag: string;
}

type Substatus = 'initialAssignment' | 'deviceDataMigrated' | 'deviceDataReset' | 'reprovisionedToInitialAssignment';

interface Operation {
  readonly registrationId: string;
  readonly attested: Attested;
  /** Number of remaining answers with the status `assigning`. */
  pollsLeft: number;
  /** The final answer. */
  outcome?: Answer;
}

/** The settings of an emulator, which can be changed while it runs. */
export interface RegistrationSettings {
  /** Number of answers with `assigning` per operation, including the answer to the registration. */
  polls: number;
  /** The value of Retry-After in these answers, in seconds; `undefined`: none. */
  retryAfterSeconds: number | undefined;
}

/** The caller, and the registration that the request is about. */
export interface Caller {
  readonly idScope: string;
  readonly registrationId: string;
  readonly proof: Proof;
}

/** An answer, the same over HTTPS and MQTT. */
export interface Answer {
  readonly status: number;
  readonly body: object;
  readonly retryAfterSeconds?: number | undefined;
  /** For the log. */
  readonly reason?: string;
}

/** The registered and registrable devices, and their requests over any transport. */
export class Registrations {
  readonly #individuals = new Map<string, Enrollment>();
  readonly #groups = new Map<string, Enrollment>();
  readonly #registrations = new Map<string, Registration>();
  readonly #operations = new Map<string, Operation>();
  readonly #failures = new Map<string, Failure>();
  /** Hubs that single devices of a group are assigned to. */
  readonly #hubs = new Map<string, HubRegistry>();
  readonly #idScope: string;
  readonly #settings: RegistrationSettings;
  readonly #clock: Clock;

  constructor(idScope: string, settings: RegistrationSettings, clock: Clock) {
    this.#idScope = idScope;
    this.#settings = settings;
    this.#clock = clock;
  }

  addIndividual(enrollment: Enrollment): void {
    this.#individuals.set(registrationKey(enrollment.id), enrollment);
  }

  addGroup(enrollment: Enrollment): void {
    this.#groups.set(enrollment.id, enrollment);
  }

  /** @returns whether it existed. Registered devices stay in their hubs, as with the service. */
  remove(id: string): boolean {
    return this.#individuals.delete(registrationKey(id)) || this.#groups.delete(id);
  }

  /** @throws RangeError if the enrolment does not exist */
  setStatus(id: string, status: 'enabled' | 'disabled'): void {
    const individual = this.#individuals.get(registrationKey(id));
    const group = this.#groups.get(id);
    if (individual !== undefined) this.addIndividual({ ...individual, status });
    else if (group !== undefined) this.addGroup({ ...group, status });
    else throw new RangeError(`There is no enrolment ${id}.`);
  }

  setFailure(registrationId: string, failure: Failure | undefined): void {
    if (failure === undefined) this.#failures.delete(registrationKey(registrationId));
    else this.#failures.set(registrationKey(registrationId), failure);
  }

  /** The device's current hub. */
  hubOf(registrationId: string): HubRegistry | undefined {
    return this.#registrations.get(registrationKey(registrationId))?.hub;
  }

  /** Assigns the device to another hub at its next registration. @returns its device id, if it is registered */
  assignTo(registrationId: string, hub: HubRegistry): string | undefined {
    this.#hubs.set(registrationKey(registrationId), hub);
    return this.#registrations.get(registrationKey(registrationId))?.deviceId;
  }

  /** @throws ProvisioningError */
  authenticate({ idScope, registrationId, proof }: Caller): Attested {
    if (idScope !== this.#idScope) throw unauthorized(`the ID scope is ${idScope}, not ${this.#idScope}`);
    if (!isRegistrationId(registrationId)) throw badRequest(`"${registrationId}" is not a registration id`);
    const individual = this.#individuals.get(registrationKey(registrationId));
    const now = this.#clock.now();
    return attest(proof, { idScope, registrationId, now, individual, groups: [...this.#groups.values()] });
  }

  register(caller: Caller, body: unknown): Answer {
    return this.#answer(() => {
      const attested = this.authenticate(caller);
      const { registrationId } = caller;
      const named = (body as { registrationId?: unknown } | undefined)?.registrationId;
      if (typeof named !== 'string' || registrationKey(named) !== registrationKey(registrationId))
        throw badRequest(`the body's registrationId is not ${registrationId}`);
      const operationId = `5.${randomBytes(8).toString('hex')}.${randomBytes(16).toString('hex')}`;
      this.#operations.set(operationId, { registrationId, attested, pollsLeft: this.#settings.polls });
      return this.#state(operationId);
    });
  }

  operationStatus(caller: Caller, operationId: string): Answer {
    return this.#answer(() => {
      this.authenticate(caller);
      const operation = this.#operations.get(operationId);
      if (
        operation === undefined ||
        registrationKey(operation.registrationId) !== registrationKey(caller.registrationId)
      )
        throw unknownOperation(`${caller.registrationId} has no operation ${operationId}`);
      return this.#state(operationId);
    });
  }

  lookUp(caller: Caller): Answer {
    return this.#answer(() => {
      const attested = this.authenticate(caller);
      const registration = this.#registrations.get(registrationKey(caller.registrationId));
      if (registration === undefined) throw unknownOperation(`${caller.registrationId} has not registered`);
      return { status: 200, body: this.#assigned(registration, attested) };
    });
  }

  #answer(run: () => Answer): Answer {
    try {
      return run();
    } catch (error) {
      if (!(error instanceof ProvisioningError)) throw error;
      const { status, errorCode, message, reason } = error;
      return { status, body: errorDetails(errorCode, message, this.#clock.now()), reason };
    }
  }

  #state(operationId: string): Answer {
    const operation = this.#operations.get(operationId);
    if (operation === undefined) throw unknownOperation(`there is no operation ${operationId}`);
    if (operation.pollsLeft > 0) {
      operation.pollsLeft--;
      const { retryAfterSeconds } = this.#settings;
      return { status: 202, body: { operationId, status: 'assigning' }, retryAfterSeconds };
    }
    operation.outcome ??= this.#end(operationId, operation);
    return operation.outcome;
  }

  #end(operationId: string, { registrationId, attested }: Operation): Answer {
    const ended = (status: string, registrationState: object) => ({
      status: 200,
      body: { operationId, status, registrationState },
    });
    if (attested.enrollment.status === 'disabled')
      return ended('disabled', this.#unassigned(registrationId, attested, { status: 'disabled' }));
    const failure = this.#failures.get(registrationKey(registrationId));
    if (failure !== undefined)
      return ended('failed', this.#unassigned(registrationId, attested, { status: 'failed', ...failure }));
    return ended('assigned', this.#assigned(this.#assign(registrationId, attested), attested));
  }

  /** Adds the device to its hub's registry, and removes it from the one it was in before. */
  #assign(registrationId: string, { enrollment, credential }: Attested): Registration {
    const key = registrationKey(registrationId);
    const known = this.#registrations.get(key);
    const wanted = this.#hubs.get(key) ?? enrollment.hub;
    const hub = known !== undefined && enrollment.reprovisioning === 'never' ? known.hub : wanted;
    const deviceId = enrollment.deviceId ?? registrationId;
    const moves = known !== undefined && known.hub !== hub;
    if (moves) known.hub.removeDevice(known.deviceId);
    if (enrollment.reprovisioning === 'reset' && known?.hub === hub) hub.removeDevice(deviceId);
    hub.addDevice({ deviceId, credential });
    const now = this.#clock.now();
    const registration: Registration = {
      registrationId,
      deviceId,
      enrollmentGroupId: enrollment.deviceId === undefined ? enrollment.id : undefined,
      hub,
      createdAt: known?.createdAt ?? now,
      updatedAt: now,
      substatus: substatusOf(known, moves, enrollment),
      etag: randomBytes(8).toString('base64'),
    };
    this.#registrations.set(key, registration);
    return registration;
  }

  #assigned(registration: Registration, { registrationType }: Attested) {
    const { registrationId, deviceId, hub, createdAt, updatedAt, substatus, etag, enrollmentGroupId } = registration;
    const type = enrollmentGroupId === undefined ? {} : { enrollmentGroupId };
    return {
      ...(registrationType === 'x509' ? { x509: type } : { symmetricKey: type }),
      registrationId,
      createdDateTimeUtc: createdAt.toISOString(),
      assignedHub: hub.hostName,
      deviceId,
      status: 'assigned',
      substatus,
      lastUpdatedDateTimeUtc: updatedAt.toISOString(),
      etag,
    };
  }

  #unassigned(registrationId: string, { registrationType }: Attested, outcome: object) {
    const now = this.#clock.now().toISOString();
    const type = registrationType === 'x509' ? { x509: {} } : { symmetricKey: {} };
    return { ...type, registrationId, createdDateTimeUtc: now, lastUpdatedDateTimeUtc: now, ...outcome };
  }
}

function substatusOf(known: Registration | undefined, moves: boolean, { reprovisioning }: Enrollment): Substatus {
  if (known === undefined) return 'initialAssignment';
  if (!moves) return reprovisioning === 'reset' ? 'deviceDataReset' : 'reprovisionedToInitialAssignment';
  return reprovisioning === 'reset' ? 'deviceDataReset' : 'deviceDataMigrated';
}
