import { AgentError } from '../../base/errors.ts';
import { type ConnectionStringConfig, connectionStringIdentity } from './connection-string.ts';
import type { ModuleIdentity } from './module-identity.ts';
import { type ModuleKeyConfig, moduleKeyIdentity } from './module-key.ts';

/** `identity` of the local file (contract §1). `loadIdentity` refuses the kinds without a type here as CONFIG_NOT_BUILT. */
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
 * Loads the module's identity as configured.
 *
 * @throws AgentError naming the file and the problem; it never contains the file's content
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
      throw new AgentError('CONFIG_NOT_BUILT', `identity.kind "${config.kind}" is not implemented yet`, remedy);
    }
  }
}
