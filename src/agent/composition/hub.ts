import type { Service } from '../../core/base/service.ts';
import { VERSION } from '../../core/base/version.ts';
import type { HubClient } from '../../core/contract/hub.ts';
import type { MethodCalls } from '../../core/contract/method.ts';
import { Network } from '../../core/network/network.ts';
import { AzureHubClient } from '../hub/azure-client.ts';
import type { Identity } from '../identity/identity.ts';
import { createIdentity } from '../identity/kinds.ts';
import { StateFolder } from '../state/state-folder.ts';
import type { Foundation } from './foundation.ts';
import type { Storage } from './storage.ts';

/** Who the agent is to the hub and how it gets there, or what takes the hub's place. */
export type HubAccess =
  | { readonly identity: Identity; readonly network: Network; readonly state: StateFolder }
  | { readonly dryHub: HubClient & Service };

/** @throws {AgentError} a secret is missing, exposed or malformed; CA_FILE_UNUSABLE; a setting is missing */
export function hubAccess({ local, options, clockOf, logOf }: Foundation, { stateFiles }: Storage): HubAccess {
  if (options.dryHub !== undefined) return { dryHub: options.dryHub };
  const environment = process.env;
  const clock = clockOf('hub');
  const network = new Network({ ...local.hub, environment, clock });
  const state = new StateFolder(local.stateDirectory, stateFiles);
  const context = { hub: local.hub, network, clock, log: logOf('hub'), environment, state, mayCreate: true };
  return { identity: createIdentity(local.identity, context), network, state };
}

/** Strings that no answer to a direct method may contain. */
export const secretsOf = (access: HubAccess) => (): readonly string[] =>
  'identity' in access ? access.identity.secrets() : [];

export const createHub = (
  { local, options, clockOf, logOf }: Foundation,
  { access, methods }: { access: HubAccess; methods: MethodCalls },
): HubClient & Service =>
  'dryHub' in access
    ? access.dryHub
    : new AzureHubClient({
        ...access,
        transport: local.hub.transport,
        productInfo: `vakt/${VERSION}`,
        methods,
        lookNow: options.lookNow,
        clock: clockOf('hub'),
        log: logOf('hub'),
      });
