/* Generates the deployments of the agent as a module of IoT Edge: JSON for `az iot edge`, without comments. */

import { readFileSync } from 'node:fs';
import { VERSION } from '../src/core/base/version.ts';
import type { DocumentGenerator } from './documents.ts';

const MODULE = 'azureiotsecurity';
/** The supported release as of 2026-12-01, until 2028-11-14; the support of 1.5 ended on 2026-11-10. */
const RUNTIME = '1.6';

interface Seccomp {
  readonly archMap: unknown;
  readonly syscalls: readonly { readonly comment?: string }[];
}

/** As in config/seccomp.json, without comments: the engine gets the filter itself, since the device has no such file. */
function seccompFilter(): string {
  const { archMap, syscalls, ...rest } = JSON.parse(readFileSync('config/seccomp.json', 'utf8')) as Seccomp;
  return JSON.stringify({ ...rest, archMap, syscalls: syscalls.map(({ comment: _, ...rule }) => rule) });
}

/** As compose.yaml, in the words of the engine's API. A test compares them. */
export const createOptions = () => ({
  StopTimeout: 50,
  HostConfig: {
    NetworkMode: 'host',
    PidMode: 'host',
    ReadonlyRootfs: true,
    CapDrop: ['ALL'],
    CapAdd: ['AUDIT_CONTROL', 'AUDIT_READ', 'NET_ADMIN', 'DAC_READ_SEARCH', 'SYS_PTRACE'],
    SecurityOpt: [`seccomp=${seccompFilter()}`],
    Memory: 256 * 1024 * 1024,
    PidsLimit: 64,
    Binds: ['/:/host:ro', 'vakt-state:/var/lib/vakt'],
  },
  // Without it, the runtime also connects the container to its own network, which excludes the host's.
  NetworkingConfig: { EndpointsConfig: { host: {} } },
});

/** The most bytes of a twin's text that every version of a hub has taken. */
const CHUNK = 512;

/** The runtime joins createOptions, createOptions01, createOptions02 … (edgeAgent 1.0.4 and newer). */
export function inChunks(options: object): Record<string, string> {
  const text = JSON.stringify(options);
  const count = Math.ceil(text.length / CHUNK);
  const chunks = Array.from({ length: count }, (_, index) => text.slice(index * CHUNK, (index + 1) * CHUNK));
  const nameOf = (index: number) => (index === 0 ? 'createOptions' : `createOptions${String(index).padStart(2, '0')}`);
  return Object.fromEntries(chunks.map((chunk, index) => [nameOf(index), chunk]));
}

const module = () => ({
  version: VERSION,
  type: 'docker',
  status: 'running',
  restartPolicy: 'always',
  env: { VAKT_IDENTITY__KIND: { value: 'edge' } },
  settings: { image: `contoso.azurecr.io/vakt:${VERSION}`, ...inChunks(createOptions()) },
});

const ROUTE = `FROM /messages/modules/${MODULE}/* INTO $upstream`;

/** Settings of the runtime itself, as in its documentation. */
const systemModule = (name: string, settings: object = {}) => ({
  type: 'docker',
  settings: { image: `mcr.microsoft.com/azureiotedge-${name}:${RUNTIME}`, ...settings },
});

const portOf = (port: number) => ({ [`${port}/tcp`]: [{ HostPort: String(port) }] });
const PORTS = { HostConfig: { PortBindings: { ...portOf(5671), ...portOf(8883), ...portOf(443) } } };

/** Everything that a device runs: for a device that has no other modules. */
const deployment = () => ({
  modulesContent: {
    $edgeAgent: {
      'properties.desired': {
        schemaVersion: '1.1',
        runtime: { type: 'docker', settings: { minDockerVersion: 'v1.25', registryCredentials: {} } },
        systemModules: {
          edgeAgent: systemModule('agent'),
          edgeHub: {
            ...systemModule('hub', inChunks(PORTS)),
            status: 'running',
            restartPolicy: 'always',
          },
        },
        modules: { [MODULE]: module() },
      },
    },
    $edgeHub: {
      'properties.desired': {
        schemaVersion: '1.1',
        routes: { [MODULE]: ROUTE },
        storeAndForwardConfiguration: { timeToLiveSecs: 7_200 },
      },
    },
  },
});

/** Only what the agent adds: for devices that have a deployment. */
const layeredDeployment = () => ({
  modulesContent: {
    $edgeAgent: { [`properties.desired.modules.${MODULE}`]: module() },
    $edgeHub: { [`properties.desired.routes.${MODULE}`]: ROUTE },
  },
});

const json = (value: object) => `${JSON.stringify(value, null, 2)}\n`;

export const edgeDeployments: readonly DocumentGenerator[] = [
  { path: 'packaging/edge/deployment.json', generate: () => json(deployment()) },
  { path: 'packaging/edge/layered-deployment.json', generate: () => json(layeredDeployment()) },
];
