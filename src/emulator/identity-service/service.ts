import { join } from 'node:path';
import { type Clock, systemClock } from '../../core/base/clock.ts';
import { selfSigned } from '../certificates.ts';
import type { Credential, EmulatedModule, ModuleId } from '../identity.ts';
import type { RegisteredModule } from '../registry.ts';
import { Endpoint } from '../service/endpoint.ts';
import {
  createHttpService,
  type ServiceAnswer,
  type ServiceRequest,
  type ServiceRoute,
  text,
} from '../service/http.ts';
import { EmulatedService } from '../service/service.ts';
import { ecdsaSign, hmac, newHandle, parameterOf, privateKey, rsaSign, type ServiceKey, symmetricKey } from './keys.ts';

/** The part of HubEmulator that the service needs: it provisions the module, and names the gateway. */
export interface IdentityHub {
  readonly hostName: string;
  readonly port: number;
  readonly caPem: string;
  getModule(deviceId: string, moduleId: string): RegisteredModule | undefined;
  addModule(module: EmulatedModule): RegisteredModule;
  regenerateKeys(module: ModuleId): unknown;
}

/** The three daemons, named as their sockets without `.sock`. */
export type Daemon = 'identityd' | 'keyd' | 'certd';
const DAEMONS: readonly Daemon[] = ['identityd', 'keyd', 'certd'];

export interface IdentityServiceOptions {
  /** Directory of `identityd.sock`, `keyd.sock` and `certd.sock`. */
  readonly directory: string;
  readonly hub: IdentityHub;
  readonly deviceId: string;
  readonly moduleId: string;
  /** How the module authenticates. Default `sas`. Real services document `x509`, but don't support it for modules yet. */
  readonly authentication?: 'sas' | 'x509';
  /** Key type of `x509`. Default `ecdsa`. */
  readonly keyType?: 'ecdsa' | 'rsa';
  /** The gateway in the identity. Default `localhost:PORT` of the hub; `direct`: the hub's name. */
  readonly gatewayHost?: 'direct' | 'localhost';
  /** Mode and group id of each socket. Default 0o660, and the group of the process. */
  readonly sockets?: Readonly<Partial<Record<Daemon, { readonly mode?: number; readonly group?: number }>>>;
  readonly clock?: Clock;
}

/**
 * State of the identity daemon. `unknownPrincipal`: the caller's uid has no principal (401). `notAuthorized`: the principal
 * has no permission (401). `notProvisioned`: the device has no identity yet (400). `hubUnreachable`: the module can't be
 * created (404).
 */
export type IdentityState = 'provisioned' | 'unknownPrincipal' | 'notAuthorized' | 'notProvisioned' | 'hubUnreachable';

const REFUSALS: Readonly<Record<Exclude<IdentityState, 'provisioned'>, [number, string]>> = {
  unknownPrincipal: [401, 'authentication error'],
  notAuthorized: [401, 'authorization error'],
  notProvisioned: [400, 'device identity not found'],
  hubUnreachable: [404, 'Hub client error\ncaused by: error trying to connect: tcp connect error: Connection refused'],
};

const API_VERSIONS = ['2020-09-01', '2021-05-01', '2021-12-01', '2022-08-01'];

/**
 * A local IoT Identity Service: identityd, keyd and certd, each on its Unix socket. See README.md.
 * Sources: docs/api and the routes (src/http of each daemon) of Azure/iot-identity-service.
 */
export class IdentityServiceEmulator extends EmulatedService {
  readonly directory: string;
  /** Can be changed while the service runs. */
  state: IdentityState = 'provisioned';
  readonly #options: IdentityServiceOptions;
  readonly #endpoints = new Map<Daemon, Endpoint>();
  readonly #keys = new Map<string, ServiceKey>();
  readonly #certificates = new Map<string, string>();
  #hub: IdentityHub;
  #keyHandle = '';
  #certificateId = '';

  private constructor(options: IdentityServiceOptions) {
    super(options.clock ?? systemClock);
    this.#options = options;
    this.directory = options.directory;
    this.#hub = options.hub;
  }

  static async start(options: IdentityServiceOptions): Promise<IdentityServiceEmulator> {
    const service = new IdentityServiceEmulator(options);
    await service.#provision();
    const routes = {
      identityd: service.#identityRoutes(),
      keyd: service.#keyRoutes(),
      certd: service.#certificateRoutes(),
    };
    for (const daemon of DAEMONS) {
      const server = createHttpService({
        transport: 'unix',
        routes: routes[daemon],
        faults: service.faults,
        requests: service.log,
        clock: service.clock,
        errorBody: (_status, message) => ({ message }),
      });
      const socketPath = join(options.directory, `${daemon}.sock`);
      service.#endpoints.set(daemon, await Endpoint.open(server, { socketPath, ...options.sockets?.[daemon] }));
    }
    return service;
  }

  /** Opaque; changes with `moveTo` and `renewKey`. */
  get keyHandle(): string {
    return this.#keyHandle;
  }

  /** Switches to an identity of another hub, with a new key handle, and adds the module there. */
  async moveTo(hub: IdentityHub): Promise<void> {
    this.#hub = hub;
    await this.#provision();
  }

  /** Replaces the key, under a new handle, or the certificate with its key; the hub rejects the old one. */
  async renewKey(): Promise<void> {
    const { deviceId, moduleId, authentication } = this.#options;
    if (authentication !== 'x509') this.#hub.regenerateKeys({ deviceId, moduleId });
    await this.#provision();
  }

  isOnline(daemon: Daemon): boolean {
    return this.#endpoints.get(daemon)?.isOpen ?? false;
  }

  /** Closes the sockets of some daemons, default all, and removes their files. */
  override async offline(...daemons: readonly Daemon[]): Promise<void> {
    for (const daemon of daemons.length === 0 ? DAEMONS : daemons) await this.#endpoints.get(daemon)?.shut();
  }

  /** Opens the sockets of some daemons, default all. */
  override async online(...daemons: readonly Daemon[]): Promise<void> {
    for (const daemon of daemons.length === 0 ? DAEMONS : daemons) await this.#endpoints.get(daemon)?.open();
  }

  protected get endpoints(): readonly Endpoint[] {
    return [...this.#endpoints.values()];
  }

  /** Adds the module to the hub, and makes its key available. */
  async #provision(): Promise<void> {
    const { deviceId, moduleId, authentication, keyType = 'ecdsa' } = this.#options;
    const hub = this.#hub;
    this.#keys.clear();
    this.#keyHandle = newHandle();
    if (authentication === 'x509') {
      const certificate = await selfSigned({ commonName: `${deviceId}/${moduleId}`, keyType });
      const credential: Credential = { type: 'selfSigned', primaryThumbprint: certificate.thumbprint };
      hub.addModule({ deviceId, moduleId, credential });
      this.#certificateId = `aziot-edged-${moduleId}-${newHandle().slice(0, 6).replace(/\W/g, '0')}`;
      this.#certificates.clear();
      this.#certificates.set(this.#certificateId, certificate.chainPem);
      this.#keys.set(this.#keyHandle, privateKey(certificate.keyPem));
      return;
    }
    if (hub.getModule(deviceId, moduleId)?.credential.type !== 'sas') hub.addModule({ deviceId, moduleId });
    this.#keys.set(
      this.#keyHandle,
      symmetricKey(() => {
        const credential = hub.getModule(deviceId, moduleId)?.credential;
        return credential?.type === 'sas' ? credential.primaryKey : '';
      }),
    );
  }

  #identityRoutes(): ServiceRoute[] {
    const { moduleId } = this.#options;
    const subject = () => moduleId;
    const identity = versioned(() => this.#identity());
    return [
      { method: 'GET', path: '/identities/identity', operation: 'identity', subject, run: identity },
      {
        method: 'GET',
        path: '/identities/modules/{moduleId}',
        operation: 'identity',
        subject: ([id]) => id,
        run: versioned(({ parameters }) => this.#identity(parameters[0])),
      },
      {
        method: 'POST',
        path: '/identities/modules',
        operation: 'identity',
        subject: (_parameters, body) => text(body, 'moduleId'),
        run: versioned(({ body }) => this.#identity(text(body, 'moduleId') ?? '')),
      },
      {
        method: 'POST',
        path: '/identities/device/reprovision',
        operation: 'reprovision',
        run: versioned(async () => {
          await this.#provision();
          return { status: 204 };
        }),
      },
      {
        method: 'GET',
        path: '/trust-bundle',
        operation: 'trustBundle',
        run: versioned(() => ({ status: 200, body: { certificate: this.#hub.caPem } })),
      },
    ];
  }

  #identity(wanted: string = this.#options.moduleId): ServiceAnswer {
    const { deviceId, moduleId, authentication = 'sas', gatewayHost = 'localhost' } = this.#options;
    if (this.state !== 'provisioned') return refused(...REFUSALS[this.state]);
    const module = this.#hub.getModule(deviceId, wanted);
    if (wanted !== moduleId || module === undefined) return refused(400, 'module identity not found');
    const certificate = authentication === 'x509' ? { certId: this.#certificateId } : {};
    const spec = {
      hubName: this.#hub.hostName,
      gatewayHost: gatewayHost === 'direct' ? this.#hub.hostName : `localhost:${this.#hub.port}`,
      deviceId,
      moduleId,
      genId: module.generationId,
      auth: { type: authentication, keyHandle: this.#keyHandle, ...certificate },
    };
    return { status: 200, body: { type: 'aziot', spec } };
  }

  #keyRoutes(): ServiceRoute[] {
    const withKey = (run: (key: ServiceKey, request: ServiceRequest) => ServiceAnswer) =>
      versioned((request) => {
        const handle = text(request.body, 'keyHandle');
        if (handle === undefined) return refused(422, 'missing field `keyHandle`');
        const key = this.#keys.get(handle);
        return key === undefined ? refused(400, 'parameter "handle" has an invalid value') : run(key, request);
      });
    return [
      { method: 'POST', path: '/sign', operation: 'sign', run: withKey((key, { body }) => signature(key, body)) },
      {
        method: 'POST',
        path: '/encrypt',
        operation: 'sign', // makes RSA signatures, too
        run: withKey((key, { body }) => {
          const plaintext = decoded(text(body, 'plaintext'));
          if (plaintext === undefined) return refused(422, 'missing field `plaintext`');
          const made = text(body, 'algorithm') === 'RSA-PKCS1' ? rsaSign(key, plaintext) : undefined;
          if (made === undefined) return refused(400, 'parameter "mechanism" has an invalid value');
          return { status: 200, body: { ciphertext: made.toString('base64') } };
        }),
      },
      {
        method: 'POST',
        path: '/parameters/{name}',
        operation: 'parameters',
        run: withKey((key, { parameters: [name = ''] }) => {
          const value = parameterOf(key, name);
          return value === undefined
            ? refused(400, 'parameter "parameter" has an invalid value')
            : { status: 200, body: { value } };
        }),
      },
    ];
  }

  #certificateRoutes(): ServiceRoute[] {
    const run = versioned(({ parameters: [id = ''] }) => {
      const pem = this.#certificates.get(id);
      return pem === undefined ? refused(400, 'parameter "id" has an invalid value') : { status: 200, body: { pem } };
    });
    return [{ method: 'GET', path: '/certificates/{certId}', operation: 'certificate', subject: ([id]) => id, run }];
  }
}

function signature(key: ServiceKey, body: unknown): ServiceAnswer {
  const algorithm = text(body, 'algorithm');
  const message = decoded(text(body, 'parameters', algorithm === 'ECDSA' ? 'digest' : 'message'));
  if (algorithm !== 'ECDSA' && algorithm !== 'HMAC-SHA256') return refused(422, `unknown variant \`${algorithm}\``);
  if (message === undefined) return refused(422, 'missing or invalid field in `parameters`');
  const made = algorithm === 'ECDSA' ? ecdsaSign(key, message) : hmac(key, message);
  if (made === undefined) return refused(400, 'parameter "mechanism" has an invalid value');
  return { status: 200, body: { signature: made.toString('base64') } };
}

type Run = (request: ServiceRequest) => ServiceAnswer | Promise<ServiceAnswer>;

const versioned =
  (run: Run): Run =>
  (request) => {
    const version = request.query.get('api-version');
    if (version === null) return refused(400, 'api-version not specified');
    return API_VERSIONS.includes(version) ? run(request) : refused(400, `invalid api-version "${version}"`);
  };

const refused = (status: number, message: string): ServiceAnswer => ({ status, body: { message }, reason: message });

const decoded = (base64: string | undefined): Buffer | undefined =>
  base64 !== undefined && /^[A-Za-z0-9+/]+={0,2}$/.test(base64) ? Buffer.from(base64, 'base64') : undefined;
