import '../core/base/no-debug.ts'; // must precede the SDK, see there
import azureIotHub from 'azure-iothub';
import { RestApiClient } from 'azure-iothub/dist/common-http/rest_api_client.js';
import { DeviceMethod } from 'azure-iothub/dist/device_method.js';
import type { Clock } from '../core/base/clock.ts';
import { type Duration, minutes, seconds } from '../core/base/duration.ts';
import { AgentError, isModuleMissing } from '../core/base/errors.ts';
import { VERSION } from '../core/base/version.ts';
import { bracketed } from '../core/network/address.ts';
import type { Network } from '../core/network/network.ts';
import type { ProxyUrl } from '../core/network/proxy-url.ts';
import type { ServiceCredential } from './credential.ts';
import { HubAgent } from './hub-agent.ts';
import { Pace, type PaceCounts } from './pace.ts';

/** Rows per page of a query's result; the hub's maximum. */
export const PAGE = 1_000;

/** Scope of Microsoft Entra tokens for IoT Hub. */
const SCOPE = 'https://iothubs.azure.net/.default';
/** Issuer of these tokens. */
const AUTHORITY = 'login.microsoftonline.com';
const HOUR = 3_600;

export type Row = Readonly<Record<string, unknown>>;

/** A module's twin as the service reads it. */
export interface ServiceTwin {
  readonly etag: string;
  readonly tags: Readonly<Record<string, unknown>>;
  readonly desired: Readonly<Record<string, unknown>>;
}

export interface MethodAnswer {
  readonly status: number;
  readonly payload: unknown;
}

export interface ServiceOptions {
  readonly credential: ServiceCredential;
  /** The network through which the hub is reached. */
  readonly network: Network;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Source of Microsoft Entra tokens; default: `defaultTokens()`. */
  readonly tokens?: TokenSource;
}

type TokenSource = NonNullable<ConstructorParameters<typeof RestApiClient>[0]['tokenCredential']>;

/**
 * The hub's service API through the official SDK, over HTTPS. `pace.ts` limits the requests, so callers may start any number.
 *
 * Every method throws ServiceFailure for errors of this request only, and AgentError for errors that abort the command.
 */
export class HubService {
  readonly hostName: string;
  readonly #registry: azureIotHub.Registry;
  readonly #client: RestApiClient;
  readonly #agent: HubAgent;
  readonly #pace: Pace;

  private constructor(client: RestApiClient, config: RegistryConfig, { credential, network, ...pace }: ServiceOptions) {
    this.hostName = credential.hostName;
    this.#agent = new HubAgent({ network, gateway: credential.gateway, clock: pace.clock });
    this.#client = client;
    this.#registry = new azureIotHub.Registry(config, client);
    client.setOptions({ http: { agent: this.#agent } }); // after the registry, which sets its own agent
    this.#pace = new Pace(pace);
  }

  /** Does not connect yet. @throws AgentError FLEET_MISSING */
  static async open(options: ServiceOptions): Promise<HubService> {
    const { credential } = options;
    const host = credential.hostName;
    const config =
      credential.kind === 'entra'
        ? { host, tokenCredential: options.tokens ?? (await defaultTokens(options.network)), tokenScope: SCOPE }
        : { host, sharedAccessSignature: tokenOf(credential) };
    return new HubService(new RestApiClient(config, `vakt/${VERSION}`), config as RegistryConfig, options);
  }

  get counts(): PaceCounts {
    return this.#pace.counts;
  }

  close(): void {
    this.#agent.destroy();
  }

  /** The pages of a query's result. */
  async *query(text: string): AsyncGenerator<readonly Row[]> {
    const query = this.#registry.createQuery(text, PAGE);
    while (query.hasMoreResults) {
      // Without the token, the SDK's promise form restarts from the first page forever.
      const { result } = await this.#pace.run(minutes(2), () => query.next(query.continuationToken));
      const rows = (result ?? []) as unknown as Row[];
      if (rows.length > 0) yield rows;
    }
  }

  /** @param from `devices` or `devices.modules`, with a condition */
  async count(from: string): Promise<number> {
    for await (const [row] of this.query(`SELECT COUNT() AS count FROM ${from}`)) return Number(row?.count ?? 0);
    return 0;
  }

  /** @returns the new module's primary key @throws ServiceFailure with 409 if it exists */
  async createModule(deviceId: string, moduleId: string): Promise<string> {
    const module = { deviceId, moduleId };
    const { responseBody } = await this.#pace.run(minutes(1), () => this.#registry.addModule(module));
    return keyIn(responseBody);
  }

  /** A module's primary key; empty if it has none. */
  async moduleKey(deviceId: string, moduleId: string): Promise<string> {
    const { responseBody } = await this.#pace.run(minutes(1), () => this.#registry.getModule(deviceId, moduleId));
    return keyIn(responseBody);
  }

  async moduleTwin(deviceId: string, moduleId: string): Promise<ServiceTwin> {
    const { responseBody } = await this.#pace.run(minutes(1), () => this.#registry.getModuleTwin(deviceId, moduleId));
    const { etag, tags, properties } = responseBody;
    return { etag, tags: tags ?? {}, desired: properties.desired };
  }

  /** Merges (RFC 7396). @param etag that the twin must still have; `*`: any @returns the new `$version` of desired */
  async patchTwin(deviceId: string, moduleId: string, patch: object, etag = '*'): Promise<number> {
    const update = () => this.#registry.updateModuleTwin(deviceId, moduleId, patch, etag);
    const { responseBody } = await this.#pace.run(minutes(1), update);
    return Number(responseBody.properties.desired.$version);
  }

  /** @param limit from 5 to 300 s, for the agent's answer */
  async callMethod(
    deviceId: string,
    moduleId: string,
    call: { readonly name: string; readonly payload: unknown; readonly limit: Duration },
  ): Promise<MethodAnswer> {
    const responseTimeoutInSeconds = Math.round(call.limit / 1_000);
    const method = new DeviceMethod(
      { methodName: call.name, payload: call.payload, responseTimeoutInSeconds },
      this.#client,
    );
    const limit = (call.limit + seconds(60)) as Duration;
    const { device } = (await this.#pace.run(
      limit,
      () => method.invokeOnModule(deviceId, moduleId),
      'throttled',
    )) as unknown as {
      device: MethodAnswer;
    };
    return { status: device.status, payload: device.payload };
  }
}

type RegistryConfig = ConstructorParameters<typeof azureIotHub.Registry>[0];

/** A token, which the SDK renews with every request. */
const tokenOf = ({ hostName, policy, key }: Extract<ServiceCredential, { kind: 'sharedAccessKey' }>) =>
  azureIotHub.SharedAccessSignature.create(hostName, policy, key, HOUR);

function keyIn(module: { authentication?: { symmetricKey?: { primaryKey?: string | null } } } | undefined): string {
  return module?.authentication?.symmetricKey?.primaryKey ?? '';
}

/**
 * Tokens from `DefaultAzureCredential`, through the same proxy as the hub. The package reads NO_PROXY itself, so it exempts
 * hosts even from a proxy that is not set in the environment.
 *
 * @throws AgentError FLEET_MISSING
 */
async function defaultTokens(network: Network): Promise<TokenSource> {
  try {
    const { DefaultAzureCredential } = await import('@azure/identity');
    const proxy = network.proxyFor(AUTHORITY);
    return new DefaultAzureCredential(proxy === undefined ? {} : { proxyOptions: proxyOptions(proxy) });
  } catch (cause) {
    if (!isModuleMissing(cause)) throw cause;
    const remedy =
      'Run "npm ci" in the clone of the project, or use a connection string (--connection-string-file FILE).';
    throw new AgentError(
      'FLEET_MISSING',
      'Microsoft Entra needs the package @azure/identity, which is not installed',
      remedy,
      {
        cause,
      },
    );
  }
}

/** The package decodes user and password once more than it encodes them. */
const proxyOptions = ({ secure, host, port, user, password }: ProxyUrl) => ({
  host: `${secure ? 'https' : 'http'}://${bracketed(host)}`,
  port,
  ...(user === undefined ? {} : { username: encodeURIComponent(user) }),
  ...(password === undefined ? {} : { password: encodeURIComponent(password) }),
});
