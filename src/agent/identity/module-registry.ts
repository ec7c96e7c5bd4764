import * as v from 'valibot';
import { type Clock, isPlausible } from '../../core/base/clock.ts';
import { onceChanged } from '../../core/base/credential-copies.ts';
import type { Duration } from '../../core/base/duration.ts';
import { AgentError, type FailureId } from '../../core/base/errors.ts';
import { shellWord } from '../../core/base/text.ts';
import { HubFailure, type RetryCause } from '../../core/contract/hub.ts';
import { BASIC_TIER, isRefusedByTier, TIER_REMEDY } from '../../core/contract/hub-tier.ts';
import { type Address, addressOf, hostAndPort } from '../../core/network/address.ts';
import type { HttpAnswer } from '../../core/network/http.ts';
import type { Network } from '../../core/network/network.ts';
import type { Proof } from './identity.ts';
import { TOKEN_LIFE } from './identity.ts';
import { requestFailure, retryAfter } from './request-failure.ts';
import { isSharedAccessKey, resourceOf, signSasToken } from './sas-token.ts';
import type { SharedKey } from './shared-keys.ts';

/** What authenticates a device. */
export type DeviceProof =
  /** Base64. Secret. */
  | { readonly kind: 'key'; readonly key: string }
  /** PEM; the key is secret. */
  | Extract<Proof, { kind: 'certificate' }>;

/** A module in a hub's registry. */
export interface RegistryEntry {
  /** The hub's name, without a port. */
  readonly hostName: string;
  readonly deviceId: string;
  readonly moduleId: string;
}

export interface RegistryOptions {
  /** `host` or `host:port`. If absent, port 443 of the hub. */
  readonly endpoint: string | undefined;
  readonly network: Network;
  readonly clock: Clock;
  /** Where the device's credential is from, for remedies: `identity.keyFile /etc/vakt/secrets/device.key`. */
  readonly credential: string;
}

/** The hub answered with an error. */
export class RegistryRefusal extends HubFailure {
  /** The HTTP status. 404 with the name DeviceNotFound: the hub has no such device. */
  readonly status: number;
  /** The hub's name of the error, if it sent one. */
  readonly errorName: string | undefined;

  constructor(failure: HubFailure, { status, errorName }: { status: number; errorName: string | undefined }) {
    super(failure.error, failure.retryCause, failure.after === undefined ? {} : { after: failure.after });
    this.status = status;
    this.errorName = errorName;
  }
}

/** Source: "IoT Hub REST API", Modules. */
const API_VERSION = '2021-04-12';
const HTTPS = 443;

/**
 * The registry of a hub, as a device sees it: a device may read and create its own modules. Source: Azure IoT Identity
 * Service, which does so (aziot-cloud-client-async, hub.rs).
 */
export class ModuleRegistry {
  readonly #options: RegistryOptions;

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  /** Where requests for this hub go. */
  addressFor(hostName: string): Address {
    return addressOf(this.#options.endpoint ?? hostName, HTTPS);
  }

  /**
   * Reads a module's keys.
   *
   * @returns `undefined` if the device exists and the module does not
   * @throws HubFailure
   */
  async read(
    module: RegistryEntry,
    proof: DeviceProof,
    signal: AbortSignal,
  ): Promise<readonly SharedKey[] | undefined> {
    const answer = await this.#request('GET', module, proof, signal);
    if (answer.status === 200) return this.#keysIn(answer, module);
    if (answer.status === 404 && nameOfError(answer) === 'ModuleNotFound') return undefined;
    throw this.#refusal(answer, module);
  }

  /**
   * Creates a module, with keys from the hub. If it was created in the meantime, reads it instead.
   *
   * @throws HubFailure
   */
  async create(module: RegistryEntry, proof: DeviceProof, signal: AbortSignal): Promise<readonly SharedKey[]> {
    const answer = await this.#request('PUT', module, proof, signal);
    if (answer.status === 200 || answer.status === 201) return this.#keysIn(answer, module);
    if (answer.status === 409) {
      const keys = await this.read(module, proof, signal);
      if (keys !== undefined) return keys;
    }
    throw this.#refusal(answer, module);
  }

  async #request(
    method: 'GET' | 'PUT',
    { hostName, deviceId, moduleId }: RegistryEntry,
    proof: DeviceProof,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const { network, clock } = this.#options;
    const address = this.addressFor(hostName);
    const path = `/devices/${encodeURIComponent(deviceId)}/modules/${encodeURIComponent(moduleId)}?api-version=${API_VERSION}`;
    const body = method === 'GET' ? undefined : JSON.stringify({ deviceId, moduleId, authentication: { type: 'sas' } });
    const headers = {
      accept: 'application/json',
      ...(proof.kind === 'key' ? { authorization: tokenFor({ hostName, deviceId }, proof.key, clock.now()) } : {}),
      ...(body === undefined ? {} : { 'content-type': 'application/json; charset=utf-8' }),
    };
    const target = proof.kind === 'key' ? address : { ...address, certificate: proof.certificate, key: proof.key };
    try {
      return await network.request(target, { method, path, headers, ...(body === undefined ? {} : { body }) }, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw requestFailure(error, {
        name: "the hub's REST interface",
        address,
        settings: this.#options.endpoint === undefined ? 'hub.hostName' : 'hub.restEndpoint',
        unreachable: 'HUB_UNREACHABLE',
        silent: 'HUB_SILENT',
        now: clock.now(),
      });
    }
  }

  #keysIn({ body }: HttpAnswer, module: RegistryEntry): readonly SharedKey[] {
    const read = v.safeParse(Module, parsed(body));
    if (!read.success) throw this.#garbage(module, 'what it sent is not a module');
    const { authentication } = read.output;
    const name = nameOf(module);
    if (authentication.type !== 'sas') {
      const [has, otherwise] =
        authentication.type === 'none'
          ? ['has no credential', 'Delete']
          : [
              `is authenticated by a certificate (${authentication.type})`,
              "Set identity.kind to moduleCertificate, with the module's own certificate; or delete",
            ];
      const message = `the module ${name} ${has} at ${module.hostName}, so it has no keys that the device could read`;
      const remedy = `${otherwise} the module, so that the agent creates it with keys: az iot hub module-identity delete --hub-name ${hubOf(module)} --device-id ${shellWord(module.deviceId)} --module-id ${shellWord(module.moduleId)}`;
      throw failure('CREDENTIAL_REFUSED', message, remedy, 'credentials');
    }
    const { primaryKey, secondaryKey } = authentication.symmetricKey;
    return [
      { source: 'primary', key: primaryKey },
      { source: 'secondary', key: secondaryKey },
    ];
  }

  #refusal(answer: HttpAnswer, module: RegistryEntry): RegistryRefusal {
    const errorName = nameOfError(answer);
    return new RegistryRefusal(this.#meaningOf(answer, errorName, module), { status: answer.status, errorName });
  }

  #meaningOf(answer: HttpAnswer, name: string | undefined, module: RegistryEntry): HubFailure {
    const { status } = answer;
    const { hostName, deviceId } = module;
    const reply = name === undefined ? `${status}` : `${status} ${name}`;
    const after = retryAfter(answer.headers['retry-after'], this.#options.clock.now());
    if (name !== undefined && /Quota/i.test(name)) {
      const remedy = 'Wait for the next UTC day, or add units to the hub.';
      return failure('HUB_QUOTA_EXCEEDED', `the daily quota of ${hostName} is used up (${reply})`, remedy, 'quota');
    }
    if (name !== undefined && isRefusedByTier(name))
      return failure('HUB_TIER_UNSUPPORTED', `${hostName} ${BASIC_TIER} (${reply})`, TIER_REMEDY, 'credentials');
    if (status === 401 || status === 403) return this.#notAuthorized(reply, name, module);
    if (status === 404 && name === 'DeviceNotFound') {
      const remedy = `Correct identity.deviceId, or create the device: az iot hub device-identity create --hub-name ${hubOf(module)} --device-id ${shellWord(deviceId)}`;
      return failure('MODULE_UNKNOWN', `${hostName} has no device ${deviceId} (${reply})`, remedy, 'absent');
    }
    if (name === 'TooManyModulesOnDevice') {
      const message = `${hostName} can't create the module ${nameOf(module)}, since the device has as many modules as it may have (${reply})`;
      const remedy = `Delete a module that is no longer used; list them: az iot hub module-identity list --hub-name ${hubOf(module)} --device-id ${shellWord(deviceId)}`;
      return failure('MODULE_UNKNOWN', message, remedy, 'absent');
    }
    if (status === 429) {
      const remedy = 'Wait; if this continues, add units to the hub.';
      const message = `${hostName} throttles requests to its registry (${reply})`;
      return failure('HUB_THROTTLED', message, remedy, 'throttled', after);
    }
    if (status >= 500) {
      const message = `${hostName} failed to process a request to its registry (${reply})`;
      return failure('HUB_UNREACHABLE', message, 'Wait; the agent retries by itself.', 'network', after);
    }
    return this.#garbage(module, `it answered ${reply}`);
  }

  #notAuthorized(reply: string, name: string | undefined, module: RegistryEntry): HubFailure {
    const { clock, credential } = this.#options;
    const { hostName, deviceId } = module;
    const now = clock.now();
    const message = `${hostName} refused the credential of the device ${deviceId} (${reply})`;
    if (!isPlausible(now)) {
      const remedy = `Set the device's clock (now ${now.toISOString()}), for example by NTP; the agent then connects at once.`;
      return failure('CREDENTIAL_REFUSED', `${message}: the device's clock is not set`, remedy, 'credentials');
    }
    const show = `az iot hub device-identity show --hub-name ${hubOf(module)} --device-id ${shellWord(deviceId)}`;
    const remedy =
      name === 'DeviceDisabled'
        ? `Enable the device: az iot hub device-identity update --hub-name ${hubOf(module)} --device-id ${shellWord(deviceId)} --set status=enabled`
        : `Check that the device exists and is enabled, that ${credential} is the device's own credential, not the module's (${show}), and that the device's clock is right (now ${now.toISOString()})${onceChanged()}.`;
    return failure('CREDENTIAL_REFUSED', message, remedy, 'credentials');
  }

  #garbage({ hostName }: RegistryEntry, problem: string): HubFailure {
    const at = hostAndPort(this.addressFor(hostName));
    const remedy = `Check that ${at} is the REST interface of an IoT Hub, and that no proxy answers for it.`;
    return failure('HUB_MISBEHAVES', `the registry at ${at} can't be used: ${problem}`, remedy, 'network');
  }
}

const Key = v.pipe(v.string(), v.check(isSharedAccessKey));
const Module = v.object({
  authentication: v.variant('type', [
    v.object({ type: v.literal('sas'), symmetricKey: v.object({ primaryKey: Key, secondaryKey: Key }) }),
    v.object({ type: v.literal('selfSigned') }),
    v.object({ type: v.literal('certificateAuthority') }),
    v.object({ type: v.literal('none') }),
  ]),
});

/**
 * The hub's name of an error, `ModuleNotFound`. The header has it; the body as text, `ErrorCode:ModuleNotFound;…`, or as a
 * code of six digits in JSON within the JSON. Both forms occur.
 */
export function nameOfError({ headers, body }: Pick<HttpAnswer, 'headers' | 'body'>): string | undefined {
  const header = headers['iothub-errorcode'];
  if (typeof header === 'string' && NAME.test(header)) return header;
  const message = v.safeParse(v.object({ Message: v.string() }), parsed(body));
  if (!message.success) return undefined;
  const text = message.output.Message;
  const [, name] = /^ErrorCode:([A-Za-z]{1,64})(?:;|$)/.exec(text) ?? [];
  if (name !== undefined) return name;
  const code = v.safeParse(v.object({ errorCode: v.number() }), parsed(text));
  return code.success ? NAMES[code.output.errorCode] : undefined;
}

const NAME = /^[A-Za-z]{1,64}$/;
/** Source: "Understand and resolve Azure IoT Hub errors". */
const NAMES: Readonly<Record<number, string>> = {
  401002: 'IotHubUnauthorizedAccess',
  401003: 'IotHubUnauthorized',
  403002: 'IotHubQuotaExceeded',
  403010: 'OperationNotAvailableInCurrentTier',
  403012: 'DeviceDisabled',
  404001: 'DeviceNotFound',
  404010: 'ModuleNotFound',
  409301: 'ModuleAlreadyExistsOnDevice',
  413003: 'TooManyModulesOnDevice',
  429001: 'ThrottlingException',
};

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const tokenFor = (device: { hostName: string; deviceId: string }, key: string, now: Date): string =>
  signSasToken(resourceOf(device), key, new Date(now.getTime() + TOKEN_LIFE)).text;

const nameOf = ({ deviceId, moduleId }: RegistryEntry) => `${deviceId}/${moduleId}`;

/** As `az` names it: the first part of the host name. */
const hubOf = ({ hostName }: RegistryEntry) => hostName.split('.')[0];

const failure = (id: FailureId, message: string, remedy: string, cause: RetryCause, after?: Duration) =>
  new HubFailure(new AgentError(id, message, remedy), cause, after === undefined ? {} : { after });
