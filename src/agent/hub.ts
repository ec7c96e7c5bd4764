import type { Service } from '../base/service.ts';
import { VERSION } from '../base/version.ts';
import type { LocalSettings } from '../config/local.ts';
import type { HubClient } from '../contract/hub.ts';
import type { MethodCalls } from '../contract/method.ts';
import { AzureHubClient } from '../hub/azure-client.ts';
import { loadIdentity } from '../hub/identity/index.ts';
import type { ModuleIdentity } from '../hub/identity/module-identity.ts';
import type { AgentOptions, Foundation } from './foundation.ts';

/** Who the agent is to the hub, or what takes the hub's place. */
export type HubAccess = { readonly identity: ModuleIdentity } | { readonly dryHub: HubClient & Service };

/** @throws {AgentError} a secret is missing, exposed or malformed */
export const hubAccess = (local: LocalSettings, { dryHub }: Pick<AgentOptions, 'dryHub'>): HubAccess =>
  dryHub === undefined ? { identity: loadIdentity(local.identity, local.hub) } : { dryHub };

/** Texts that no answer to a direct method may contain. */
export const secretsOf = (access: HubAccess): readonly string[] =>
  'identity' in access ? [access.identity.sharedAccessKey] : [];

/** @throws {AgentError} CA_FILE_UNUSABLE */
export const createHub = (
  { local, clockOf, logOf }: Foundation,
  { access, methods }: { access: HubAccess; methods: MethodCalls },
): HubClient & Service =>
  'dryHub' in access
    ? access.dryHub
    : new AzureHubClient({
        identity: access.identity,
        ...local.hub,
        productInfo: `vakt/${VERSION}`,
        methods,
        clock: clockOf('hub'),
        log: logOf('hub'),
      });
