import * as v from 'valibot';
import type { Clock } from '../../core/base/clock.ts';
import { AgentError } from '../../core/base/errors.ts';
import { pageOf } from '../../core/base/pages.ts';
import { hostNameProblem, isHubId } from '../../core/contract/hub-names.ts';
import { socketPathProblem } from '../../core/network/unix-socket.ts';
import type { Identity, IdentityContext, Presentation, PresentOptions } from './identity.ts';
import { addressAt, areSameHub, identityKind, namedBy } from './kind.ts';
import type { LocalService } from './local/local-service.ts';
import type { EdgeModule } from './local/workload-api.ts';

/** A module of IoT Edge: the runtime's variables say who it is, and the runtime's workload API signs for it. */
export const edge = identityKind({
  kind: 'edge',
  schema: v.strictObject({ kind: v.literal('edge') }),
  create: ({ kind }, context) => new EdgeIdentity(kind, edgeModuleOf(context), context),
});

class EdgeIdentity implements Identity {
  readonly files = [];
  readonly kind: string;
  readonly namedBy: string | undefined;
  readonly #module: EdgeModule;
  readonly #clock: Clock;
  #token: string | undefined;

  constructor(kind: string, module: EdgeModule, { hub, clock }: Pick<IdentityContext, 'hub' | 'clock'>) {
    this.kind = kind;
    this.namedBy = namedBy('IOTEDGE_GATEWAYHOSTNAME', hub);
    this.#module = module;
    this.#clock = clock;
  }

  async present(options: PresentOptions): Promise<Presentation> {
    const { presentEdgeModule } = await import('./local/workload-api.ts');
    const presentation = await presentEdgeModule(this.#module, this.#clock, options);
    this.#token = presentation.proof.token;
    return presentation;
  }

  secrets(): readonly string[] {
    return this.#token === undefined ? [] : [this.#token];
  }
}

const REQUIRED = [
  'IOTEDGE_WORKLOADURI',
  'IOTEDGE_DEVICEID',
  'IOTEDGE_MODULEID',
  'IOTEDGE_MODULEGENERATIONID',
  'IOTEDGE_IOTHUBHOSTNAME',
  'IOTEDGE_GATEWAYHOSTNAME',
] as const;

/** The first version; IoT Edge has understood it ever since. */
const DEFAULT_API_VERSION = '2018-06-28';

/** @throws AgentError CONFIG_INCOMPLETE, CONFIG_INVALID */
function edgeModuleOf({ environment, hub }: Pick<IdentityContext, 'environment' | 'hub'>): EdgeModule {
  const missing = REQUIRED.filter((name) => !environment[name]);
  if (missing.length > 0) {
    const message = `identity.kind "edge" needs the variables that IoT Edge gives to a module; missing: ${missing.join(', ')}`;
    throw new AgentError('CONFIG_INCOMPLETE', message, remedy());
  }
  const value = (name: (typeof REQUIRED)[number]) => environment[name] ?? '';
  const hostName = host('IOTEDGE_IOTHUBHOSTNAME', value('IOTEDGE_IOTHUBHOSTNAME'));
  const gateway = host('IOTEDGE_GATEWAYHOSTNAME', value('IOTEDGE_GATEWAYHOSTNAME'));
  const ids = { deviceId: value('IOTEDGE_DEVICEID'), moduleId: value('IOTEDGE_MODULEID') };
  if (!isHubId(ids.deviceId)) throw invalid('IOTEDGE_DEVICEID is not the id of a device');
  if (!isHubId(ids.moduleId)) throw invalid('IOTEDGE_MODULEID is not the id of a module');
  const module = addressAt(hostName, ids, hub.gatewayHostName ?? gateway);
  if (hub.hostName !== undefined && !areSameHub(hub.hostName, hostName)) {
    const message = `hub.hostName is ${hub.hostName}, but IoT Edge connects this device to ${hostName}`;
    throw new AgentError('CONFIG_INVALID', message, 'Remove hub.hostName: IoT Edge names the hub.');
  }
  const scheme = environment.IOTEDGE_AUTHSCHEME ?? 'sasToken';
  if (scheme.toLowerCase() !== 'sastoken')
    throw invalid(`IOTEDGE_AUTHSCHEME is ${quoted(scheme)} instead of "sasToken"`);
  const apiVersion = environment.IOTEDGE_APIVERSION || DEFAULT_API_VERSION;
  if (!/^[\w.-]{1,64}$/.test(apiVersion)) throw invalid(`IOTEDGE_APIVERSION is ${quoted(apiVersion)}, not a version`);
  const generationId = value('IOTEDGE_MODULEGENERATIONID');
  const workloadApi = serviceAt(value('IOTEDGE_WORKLOADURI'));
  return { ...module, gateway: module.connectTo ?? gateway, generationId, workloadApi, apiVersion };
}

const remedy = () =>
  `Let IoT Edge start the agent as one of its modules, or use another identity.kind: see ${pageOf('identity')}.`;

/** Starts with no more of the text than a message can have. */
const quoted = (text: string) => JSON.stringify(text.slice(0, 100));

const invalid = (message: string) => new AgentError('CONFIG_INVALID', message, remedy());

function host(variable: string, text: string): string {
  const problem = hostNameProblem(text);
  if (problem !== undefined) throw invalid(`${variable} ${problem}`);
  return text;
}

/** `unix:///path` or `http://host:port`. */
function serviceAt(uri: string): LocalService {
  const { protocol, pathname, hostname, port } = parsed(uri);
  if (protocol === 'unix:' && hostname === '' && pathname.length > 1) {
    const socketPath = decoded(pathname);
    if (socketPath === undefined)
      throw invalid(`IOTEDGE_WORKLOADURI is ${quoted(uri)}, which is not percent-encoded UTF-8`);
    const problem = socketPathProblem(socketPath);
    if (problem !== undefined) throw invalid(`IOTEDGE_WORKLOADURI names a socket whose path ${problem}`);
    return { socketPath };
  }
  if (protocol === 'http:' && hostname !== '' && pathname === '/') {
    return { address: { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? 80 : Number(port) } };
  }
  throw invalid(`IOTEDGE_WORKLOADURI is ${quoted(uri)} instead of unix:///path or http://host:port`);
}

function decoded(path: string): string | undefined {
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}

function parsed(uri: string): Pick<URL, 'protocol' | 'pathname' | 'hostname' | 'port'> {
  try {
    return new URL(uri);
  } catch {
    return { protocol: '', pathname: '', hostname: '', port: '' };
  }
}
