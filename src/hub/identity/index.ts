import { AgentError } from '../../base/errors.ts';
import { type ConnectionStringConfig, connectionStringIdentity } from './connection-string.ts';
import type { ModuleIdentity } from './module-identity.ts';
import { type ModuleKeyConfig, moduleKeyIdentity } from './module-key.ts';

/** `identity` of the local file (contract §1). Kinds that have no schema here are refused with CONFIG_NOT_BUILT. */
export type IdentityConfig =
  | ConnectionStringConfig
  | ModuleKeyConfig
  | {
      readonly kind:
        | 'moduleCertificate'
        | 'deviceKey'
        | 'deviceCertificate'
        | 'provisioning'
        | 'edge'
        | 'identityService';
    };

/**
 * Gets the module's identity by the way the configuration names.
 *
 * @throws AgentError saying what is wrong with which file, never what is in it
 */
export function loadIdentity(
  config: IdentityConfig,
  { hostName }: { hostName?: string | undefined } = {},
): ModuleIdentity {
  switch (config.kind) {
    case 'connectionString':
      return connectionStringIdentity(config, hostName);
    case 'moduleKey':
      return moduleKeyIdentity(config, hostName);
    default: {
      const remedy = 'Use identity.kind "moduleKey" or "connectionString".';
      throw new AgentError('CONFIG_NOT_BUILT', `identity.kind "${config.kind}" is not built yet`, remedy);
    }
  }
}
