import { X509Certificate } from 'node:crypto';
import * as v from 'valibot';
import type { Clock } from '../../../core/base/clock.ts';
import { AgentError } from '../../../core/base/errors.ts';
import { printable } from '../../../core/base/text.ts';
import { HubFailure } from '../../../core/contract/hub.ts';
import { type Presentation, type PresentOptions, type Proof, TOKEN_LIFE } from '../identity.ts';
import { resourceOf, unsignedToken } from '../sas-token.ts';
import { HMAC_SHA256 } from './daemons.ts';
import {
  askLocal,
  LocalRefusal,
  type LocalService,
  LocalServiceError,
  nameOf,
  notUnderstood,
} from './local-service.ts';

/** What the runtime's variables say. */
export interface EdgeModule {
  readonly hostName: string;
  readonly deviceId: string;
  readonly moduleId: string;
  /** `host` or `host:port` of the gateway, edgeHub. */
  readonly gateway: string;
  /** Changes when a module is removed and made again. */
  readonly generationId: string;
  readonly workloadApi: LocalService;
  readonly apiVersion: string;
}

/** The requests to the workload API: the authorities of the gateway's certificate, and a signature. */
type Operation = 'trust bundle' | 'signature';

const TrustBundle = v.object({ certificate: v.string() });
const Signature = v.object({ digest: HMAC_SHA256 });

/**
 * Makes a presentation of a module by IoT Edge's workload API. Nothing is kept from the last one: the runtime may have
 * renewed its certificates.
 *
 * Source: edgelet/api/workloadVersion_2020_07_07.yaml of Azure/iotedge.
 *
 * @throws HubFailure EDGE_UNREACHABLE, EDGE_REFUSED. Asking again costs the hub nothing.
 */
export async function presentEdgeModule(
  module: EdgeModule,
  clock: Clock,
  { signal, onStep }: PresentOptions,
): Promise<Presentation & { proof: Proof & { kind: 'token' } }> {
  const { hostName, deviceId, moduleId, gateway, generationId, workloadApi, apiVersion } = module;
  const ask = async (operation: Operation, path: string, body?: object): Promise<unknown> => {
    const request = { path: `${path}?api-version=${apiVersion}`, ...(body === undefined ? {} : { body }) };
    return askLocal(workloadApi, request, { clock, signal }).catch((error: unknown) => {
      throw failureOf(error, operation, module);
    });
  };
  const checked = <T extends v.GenericSchema>(schema: T, answer: unknown): v.InferOutput<T> => {
    const result = v.safeParse(schema, answer);
    if (result.success) return result.output;
    throw unreachable(notUnderstood(workloadApi));
  };

  const bundle = checked(TrustBundle, await ask('trust bundle', '/trust-bundle'));
  const authorities = certificatesIn(bundle.certificate);
  if (authorities.length === 0) throw unreachable(notUnderstood(workloadApi));

  const unsigned = unsignedToken(resourceOf(module), new Date(clock.now().getTime() + TOKEN_LIFE));
  const path = `/modules/${encodeURIComponent(moduleId)}/genid/${encodeURIComponent(generationId)}/sign`;
  const data = Buffer.from(unsigned.text).toString('base64');
  const { digest } = checked(Signature, await ask('signature', path, { keyId: 'primary', algo: 'HMACSHA256', data }));
  const { text: token, expiresAt } = unsigned.withSignature(digest);

  onStep?.({
    name: 'workload API',
    text: `${nameOf(workloadApi)} signs for ${deviceId}/${moduleId} at ${hostName}; the gateway is ${gateway}`,
    details: [
      `API version ${apiVersion}, generation ${generationId} of the module`,
      ...authorities.map(({ subject, validTo }) => `trusts ${nameIn(subject)}, valid until ${validTo}`),
    ],
  });
  const trustedCa = authorities.map(String).join('');
  return {
    module: { hostName, deviceId, moduleId, connectTo: gateway, trustedCa },
    proof: { kind: 'token', token, expiresAt },
    source: 'primary',
  };
}

/** More than a bundle has; each one costs time to parse. */
const MAX_AUTHORITIES = 300;

/** Omits broken certificates, which must not keep the others from being trusted. */
function certificatesIn(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.slice(0, MAX_AUTHORITIES).flatMap((block) => {
    try {
      return [new X509Certificate(block)];
    } catch {
      return [];
    }
  });
}

const nameIn = (subject: string) => printable(subject.replaceAll('\n', ', ').slice(0, 200));

const unreachable = (error: LocalServiceError) =>
  new HubFailure(
    new AgentError('EDGE_UNREACHABLE', `IoT Edge's workload API at ${error.message}`, remedyOf(error)),
    'local',
  );

function remedyOf({ kind }: LocalServiceError): string {
  if (kind === 'forbidden') {
    return 'IoT Edge makes the socket for all users (mode 0666): undo the change, then run on the device: iotedge system restart';
  }
  return 'Look on the device whether IoT Edge runs: iotedge system status; if it does not, run: iotedge system restart';
}

function failureOf(error: unknown, operation: Operation, module: EdgeModule): unknown {
  if (error instanceof LocalServiceError) return unreachable(error);
  if (!(error instanceof LocalRefusal)) return error;
  const { status, message } = error;
  const { moduleId, generationId, apiVersion, workloadApi } = module;
  const answered = `IoT Edge's workload API at ${nameOf(workloadApi)} answered the request for a ${operation} with ${message}`;
  const failure = (id: 'EDGE_UNREACHABLE' | 'EDGE_REFUSED', message: string, remedy: string) =>
    new HubFailure(new AgentError(id, message, remedy), 'local');
  if (error.isTemporary) {
    return failure(
      'EDGE_UNREACHABLE',
      answered,
      'Look on the device for the cause: iotedge check; iotedge system logs',
    );
  }
  if (status === 404 && operation === 'signature') {
    const message = `${answered}: module ${moduleId}, generation ${generationId}, was removed, or made again since its container was`;
    const remedy = `Let IoT Edge re-create the container with the variables of the current module. On the device: docker rm --force ${moduleId}`;
    return failure('EDGE_REFUSED', message, remedy);
  }
  if (status === 401 || status === 403) {
    const message = `${answered}: it does not take this process for module ${moduleId}`;
    const remedy = `Start the agent in the container of module ${moduleId} only, as IoT Edge does: the API compares the process with those of that container.`;
    return failure('EDGE_REFUSED', message, remedy);
  }
  const remedy = `Update IoT Edge on the device: it must support version ${apiVersion} of the API, which IOTEDGE_APIVERSION names. Then run: iotedge check`;
  return failure('EDGE_REFUSED', answered, remedy);
}
