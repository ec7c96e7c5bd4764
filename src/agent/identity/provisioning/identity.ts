import { type AgentError, toAgentError } from '../../../core/base/errors.ts';
import { HubFailure } from '../../../core/contract/hub.ts';
import { secretLinesOf } from '../certificate-file.ts';
import { usableCertificate } from '../client-certificate.ts';
import { type IdentityContext, type Presentation, type PresentOptions, TOKEN_LIFE } from '../identity.ts';
import { addressAt, areSameHub } from '../kind.ts';
import { type DeviceProof, RegistryRefusal } from '../module-registry.ts';
import { RegisteredModule } from '../registered-module.ts';
import { signSasToken } from '../sas-token.ts';
import { type Assignment, AssignmentCache, type Registration } from './assignment.ts';
import { type AttestationFiles, describeProof, readDeviceKey } from './attestation.ts';
import { register } from './register.ts';

export interface ProvisioningOptions extends Registration {
  readonly attestation: AttestationFiles;
  /** The service: `host` or `host:port`. */
  readonly endpoint: string;
  readonly moduleId: string;
  readonly createModule: boolean;
  readonly context: IdentityContext;
}

/** Source: "Manage device reconnections to create resilient applications" (Azure IoT Hub). */
const FAILURES_BEFORE_ASKING = 10;

/**
 * Why the service is asked although there is an assignment. `refused`: by the hub, so the assignment is probably outdated.
 * `unreachable`: the hub was not reached many times, so there may be another one.
 */
type Doubt = 'refused' | 'unreachable';

/**
 * A device whose hub the Device Provisioning Service decides. The assignment is kept, in memory and in a file, until the
 * hub refuses the device or can't be reached ten times in a row; then the service is asked again.
 */
export class ProvisionedDevice {
  readonly #options: ProvisioningOptions;
  readonly #module: RegisteredModule;
  readonly #cache: AssignmentCache | undefined;
  #isCacheRead = false;
  #assignment: Assignment | undefined;
  #reasonToAsk: Doubt | undefined;
  /** Whether the service was asked since the hub last accepted a connection. Asking again at once would be useless. */
  #isFresh = false;
  /** Attempts in a row that failed because of the network. */
  #failures = 0;
  /** The device's key, and what it was derived from. */
  #secrets: readonly string[] = [];

  constructor(options: ProvisioningOptions) {
    const { idScope, registrationId, attestation, createModule, context } = options;
    this.#options = options;
    this.#module = new RegisteredModule({ createModule, credential: describeProof(attestation), context });
    const { state, log } = context;
    this.#cache = state && new AssignmentCache(state, { idScope, registrationId }, log);
  }

  /** See Identity. */
  async present(options: PresentOptions): Promise<Presentation> {
    const device = await this.#readProof(options);
    try {
      return await this.#presentAt(await this.#assigned(device, options), device, options);
    } catch (error) {
      if (options.signal.aborted || !(error instanceof HubFailure) || !this.#recordDoubt(error)) throw error;
    }
    return await this.#presentAt(await this.#assigned(device, options), device, options);
  }

  /** See Identity. */
  accepted(): void {
    this.#module.accepted();
    this.#failures = 0;
    this.#reasonToAsk = undefined;
    this.#isFresh = false;
  }

  /** See Identity. Tries the module's other key, or new ones, first: they are the more frequent reason. */
  failed(failure: HubFailure): boolean {
    return this.#module.failed(failure) || this.#recordDoubt(failure);
  }

  /** Keys in memory. */
  secrets(): readonly string[] {
    return [...this.#secrets, ...this.#module.secrets()];
  }

  /** Records whether a failure casts doubt on the assignment. @returns whether to ask the service at once */
  #recordDoubt(failure: HubFailure): boolean {
    const { retryCause, error } = failure;
    if (retryCause === 'network' && !error.id.startsWith('PROVISIONING_')) {
      this.#failures += 1;
      if (this.#failures >= FAILURES_BEFORE_ASKING) this.#reasonToAsk ??= 'unreachable';
    }
    if (!refusesDevice(failure)) return false;
    this.#reasonToAsk = 'refused';
    return !this.#isFresh;
  }

  async #readProof(options: PresentOptions): Promise<DeviceProof> {
    const { attestation, registrationId, context } = this.#options;
    if (attestation.proof === 'certificate') {
      const expected = { commonName: registrationId, settings: 'identity.registrationId' };
      const { proof } = await usableCertificate(attestation, expected, { ...options, clock: context.clock });
      this.#secrets = secretLinesOf(proof.key);
      return proof;
    }
    try {
      const { key, secrets } = readDeviceKey(attestation, registrationId);
      this.#secrets = secrets;
      return { kind: 'key', key };
    } catch (error) {
      throw new HubFailure(toAgentError(error), 'credentials');
    }
  }

  #presentAt({ hub, deviceId }: Assignment, device: DeviceProof, options: PresentOptions): Promise<Presentation> {
    const { moduleId, context } = this.#options;
    const module = addressAt(hub, { deviceId, moduleId }, context.hub.gatewayHostName);
    return this.#module.present(module, device, options);
  }

  /** The assignment in memory or in the file, if there is no doubt about it; else the service's. A check always asks. */
  async #assigned(device: DeviceProof, options: PresentOptions): Promise<Assignment> {
    if (!this.#isCacheRead) this.#assignment = this.#cache?.read();
    this.#isCacheRead = true;
    const known = this.#assignment;
    if (known === undefined || this.#reasonToAsk === 'refused') return await this.#ask(device, options);
    const isCheck = !this.#options.context.mayCreate;
    if (this.#reasonToAsk === undefined && !isCheck) return kept(known, options);
    try {
      return await this.#ask(device, options);
    } catch (error) {
      if (options.signal.aborted || !(error instanceof HubFailure)) throw error;
      if (isCheck && error.retryCause !== 'network' && error.retryCause !== 'throttled') throw error;
      if (!isCheck) this.#logKept(known, error);
      this.#resolveDoubt();
      return kept(known, options, isCheck ? error.error : undefined);
    }
  }

  /**
   * The hub was unreachable, but has refused nothing: whatever the service answers, such as a disabled enrolment, the known
   * hub may work again. An agent that waited for the service would stay away from a hub that accepts it.
   */
  #logKept({ hub }: Assignment, { error }: HubFailure): void {
    this.#options.context.log.warn(
      { id: error.id, err: error.message, remedy: error.remedy, hub },
      'The provisioning service did not confirm the hub, which could not be reached; trying the same hub again.',
    );
  }

  /** @throws HubFailure PROVISIONING_* */
  async #ask(device: DeviceProof, { signal, onStep }: PresentOptions): Promise<Assignment> {
    const { endpoint, idScope, registrationId, attestation, context } = this.#options;
    const { network, clock, mayCreate } = context;
    const now = clock.now();
    const registrant = { idScope, registrationId };
    const { assignment, by, isNew } = await register({
      endpoint,
      registrant: device.kind === 'key' ? { ...registrant, token: signToken(device.key, registrant, now) } : registrant,
      ...(device.kind === 'key' ? {} : { certificate: device }),
      subject: { service: endpoint, ...registrant, proof: describeProof(attestation), now },
      network,
      clock,
      signal,
      lookUp: !mayCreate,
    });
    const { hub, deviceId } = assignment;
    const text = `${registrationId} is ${isNew ? 'registered' : 'assigned'}: device ${deviceId} at ${hub}`;
    onStep?.({ name: 'provisioning', text, details: [`by ${by}`] });
    this.#isFresh = true;
    this.#resolveDoubt();
    this.#adopt(assignment);
    return assignment;
  }

  #adopt(assignment: Assignment): void {
    const before = this.#assignment;
    const isKnown = before !== undefined && isSame(before, assignment);
    if (isKnown && before.hub.toLowerCase() === assignment.hub.toLowerCase()) return;
    // Another form of the hub's name is used from now on: the network may not resolve the earlier one.
    this.#assignment = assignment;
    this.#cache?.write(assignment);
    if (isKnown) return;
    const { registrationId, context } = this.#options;
    const { hub, deviceId } = assignment;
    const moved = before === undefined ? {} : { previousHub: before.hub };
    context.log.info(
      { registrationId, hub, deviceId, ...moved },
      'The provisioning service assigned the device to a hub.',
    );
  }

  #resolveDoubt(): void {
    this.#reasonToAsk = undefined;
    this.#failures = 0;
  }
}

/** By its registry, or when it refused the connection of the module: over MQTT it gives no reason. */
function refusesDevice(failure: HubFailure): boolean {
  if (!(failure instanceof RegistryRefusal)) return failure.error.id === 'CREDENTIAL_REFUSED';
  const { status, errorName } = failure;
  return status === 401 || status === 403 || (status === 404 && errorName === 'DeviceNotFound');
}

/** @param error why the service could not be asked, for the report of a check */
function kept(assignment: Assignment, { onStep }: PresentOptions, error?: AgentError): Assignment {
  const { hub, deviceId } = assignment;
  const text = `device ${deviceId} at ${hub}, by an earlier registration`;
  onStep?.(
    error === undefined
      ? { name: 'provisioning', text }
      : { name: 'provisioning', text: `${text}; now ${error.message} (${error.id})`, remedy: error.remedy },
  );
  return assignment;
}

const isSame = (one: Assignment, other: Assignment) =>
  areSameHub(one.hub, other.hub) && one.deviceId === other.deviceId;

/** Source: "Control access to Azure IoT Hub Device Provisioning Service (DPS) with shared access signatures". */
function signToken(key: string, { idScope, registrationId }: Registration, now: Date): string {
  const expiresAt = new Date(now.getTime() + TOKEN_LIFE);
  return `${signSasToken(`${idScope}/registrations/${registrationId}`, key, expiresAt).text}&skn=registration`;
}
