import { createHmac } from 'node:crypto';
import { type Clock, systemClock } from '../../core/base/clock.ts';
import type { ModuleId } from '../identity.ts';
import type { RegisteredModule } from '../registry.ts';
import { type Address, Endpoint } from '../service/endpoint.ts';
import {
  createHttpService,
  type ServiceAnswer,
  type ServiceRequest,
  type ServiceRoute,
  text,
} from '../service/http.ts';
import { EmulatedService } from '../service/service.ts';

/** The part of HubEmulator that an edge device needs: its hub, which also acts as the gateway (edgeHub). */
export interface EdgeHub {
  readonly hostName: string;
  readonly port: number;
  readonly caPem: string;
  getModule(deviceId: string, moduleId: string): RegisteredModule | undefined;
  modulesOf(deviceId: string): readonly RegisteredModule[];
}

export interface EdgeOptions {
  readonly hub: EdgeHub;
  readonly deviceId: string;
  /** A Unix socket, or a port for `http://`. */
  readonly address: Address;
  readonly clock?: Clock;
}

const API_VERSIONS = ['2018-06-28', '2018-12-30', '2019-01-30', '2020-07-07'];

/**
 * The workload API of a local IoT Edge: signs for the modules of one device, and returns the gateway's CA. See README.md.
 * Source: edgelet/api/workloadVersion_2020_07_07.yaml of Azure/iotedge.
 */
export class EdgeEmulator extends EmulatedService {
  readonly deviceId: string;
  readonly #address: Address;
  #hub: EdgeHub;
  #endpoint: Endpoint | undefined;

  private constructor({ hub, deviceId, address, clock = systemClock }: EdgeOptions) {
    super(clock);
    this.#hub = hub;
    this.deviceId = deviceId;
    this.#address = address;
  }

  static async start(options: EdgeOptions): Promise<EdgeEmulator> {
    const edge = new EdgeEmulator(options);
    const server = createHttpService({
      transport: 'port' in options.address ? 'http' : 'unix',
      routes: edge.#routes(),
      faults: edge.faults,
      requests: edge.log,
      clock: edge.clock,
      errorBody: (_status, message) => ({ message }),
    });
    edge.#endpoint = await Endpoint.open(server, options.address);
    return edge;
  }

  /** `unix:///path` or `http://127.0.0.1:port`. */
  get workloadUri(): string {
    return 'port' in this.#address ? `http://127.0.0.1:${this.#endpoint?.port}` : `unix://${this.#address.socketPath}`;
  }

  /** The environment variables that the edge daemon passes to a module. @throws RangeError if the hub does not know the module */
  environmentOf(moduleId: string): Record<string, string> {
    const module = this.#hub.getModule(this.deviceId, moduleId);
    if (module === undefined) throw new RangeError(`Module ${this.deviceId}/${moduleId} does not exist.`);
    return {
      IOTEDGE_WORKLOADURI: this.workloadUri,
      IOTEDGE_DEVICEID: this.deviceId,
      IOTEDGE_MODULEID: moduleId,
      IOTEDGE_MODULEGENERATIONID: module.generationId,
      IOTEDGE_IOTHUBHOSTNAME: this.#hub.hostName,
      IOTEDGE_GATEWAYHOSTNAME: `localhost:${this.#hub.port}`,
      IOTEDGE_AUTHSCHEME: 'sasToken',
      IOTEDGE_APIVERSION: '2020-07-07',
    };
  }

  /** From now on, signs with the module keys of this hub, and returns its CA as the trust bundle. */
  moveTo(hub: EdgeHub): void {
    this.#hub = hub;
  }

  get isOnline(): boolean {
    return this.#endpoint?.isOpen ?? false;
  }

  protected get endpoints(): readonly Endpoint[] {
    return this.#endpoint === undefined ? [] : [this.#endpoint];
  }

  #routes(): ServiceRoute[] {
    const run = (answer: (request: ServiceRequest) => ServiceAnswer) => (request: ServiceRequest) => {
      const version = request.query.get('api-version') ?? '';
      return API_VERSIONS.includes(version) ? answer(request) : refused(400, `Invalid api-version: ${version}`);
    };
    return [
      {
        method: 'POST',
        path: '/modules/{name}/genid/{genid}/sign',
        operation: 'sign',
        subject: ([name]) => name,
        run: run((request) => this.#sign(request)),
      },
      {
        method: 'GET',
        path: '/trust-bundle',
        operation: 'trustBundle',
        run: run(() => ({ status: 200, body: { certificate: this.#hub.caPem } })),
      },
      {
        method: 'GET',
        path: '/modules',
        operation: 'modules',
        run: run(() => ({ status: 200, body: { modules: this.#hub.modulesOf(this.deviceId).map(detailsOf) } })),
      },
    ];
  }

  #sign({ parameters: [name = '', generationId = ''], body }: ServiceRequest): ServiceAnswer {
    const module = this.#hub.getModule(this.deviceId, name);
    if (module === undefined) return refused(404, `Module ${name} not found`);
    if (module.generationId !== generationId) return refused(404, `Module ${name} has no generation ${generationId}`);
    const { credential } = module;
    const keyId = text(body, 'keyId');
    const data = text(body, 'data');
    const algorithm = text(body, 'algo');
    if (algorithm !== 'HMACSHA256') return refused(400, `Invalid algorithm: ${algorithm}`);
    if (data === undefined || !BASE64.test(data)) return refused(400, 'The data is not base64');
    if (credential.type !== 'sas' || (keyId !== 'primary' && keyId !== 'secondary'))
      return refused(404, `Module ${name} has no key ${keyId}`);
    const key = keyId === 'primary' ? credential.primaryKey : credential.secondaryKey;
    const digest = createHmac('sha256', Buffer.from(key, 'base64'))
      .update(Buffer.from(data, 'base64'))
      .digest('base64');
    return { status: 200, body: { digest } };
  }
}

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

const refused = (status: number, message: string): ServiceAnswer => ({ status, body: { message }, reason: message });

const detailsOf = ({ moduleId }: ModuleId) => ({
  id: moduleId,
  name: moduleId,
  type: 'docker',
  config: { settings: {}, env: [] },
  status: { runtimeStatus: { status: 'running' } },
});
