import { AgentError } from '../../base/errors.ts';
import { readSecretFile } from '../../base/secret-file.ts';
import type { ModuleIdentity } from './module-identity.ts';
import { checkedKey } from './shared-access-key.ts';

/** The module's ids are in the configuration, its key is in a file. */
export interface ModuleKeyConfig {
  readonly kind: 'moduleKey';
  readonly deviceId: string;
  readonly moduleId: string;
  readonly keyFile: string;
}

export function moduleKeyIdentity(
  { kind, deviceId, moduleId, keyFile }: ModuleKeyConfig,
  hostName: string | undefined,
): ModuleIdentity {
  if (hostName === undefined) {
    const remedy = 'Set hub.hostName, for example "contoso.azure-devices.net".';
    throw new AgentError('CONFIG_INCOMPLETE', 'hub.hostName is missing', remedy);
  }
  return { kind, hostName, deviceId, moduleId, sharedAccessKey: checkedKey(readSecretFile(keyFile), keyFile) };
}
