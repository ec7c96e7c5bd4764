import { AgentError } from '../../base/errors.ts';
import { hostNameProblem } from '../../base/host-name.ts';
import { readSecretFile } from '../../base/secret-file.ts';
import type { ModuleIdentity } from './module-identity.ts';
import { checkedKey } from './shared-access-key.ts';

/** A connection string in a file, as the portal and `az iot hub module-identity connection-string show` print it. */
export interface ConnectionStringConfig {
  readonly kind: 'connectionString';
  readonly file: string;
}

export function connectionStringIdentity(
  { kind, file }: ConnectionStringConfig,
  hostName: string | undefined,
): ModuleIdentity {
  const parts = partsOf(readSecretFile(file), file);
  const part = (name: string): string => {
    const value = parts.get(name);
    if (value !== undefined && value !== '') return value;
    const what = name === 'ModuleId' ? 'is for a device, not a module: it lacks ModuleId' : `lacks ${name}`;
    throw malformed(`the connection string in ${file} ${what}`);
  };
  const problem = hostNameProblem(part('HostName'));
  if (problem !== undefined) throw malformed(`HostName of the connection string in ${file} ${problem}`);
  const identity = {
    kind,
    hostName: part('HostName'),
    deviceId: part('DeviceId'),
    moduleId: part('ModuleId'),
    sharedAccessKey: checkedKey(part('SharedAccessKey'), file),
  };
  if (hostName !== undefined && hostName.toLowerCase() !== identity.hostName.toLowerCase()) {
    const what = `hub.hostName is ${hostName}, but the connection string in ${file} is for ${identity.hostName}`;
    throw new AgentError('CONFIG_INVALID', what, 'Remove hub.hostName, or use the connection string of that hub.');
  }
  const gatewayHostName = parts.get('GatewayHostName');
  return { ...identity, ...(gatewayHostName ? { gatewayHostName } : {}) };
}

/** `Name=value;Name=value`. A value can contain equals signs, as base64 does. */
function partsOf(text: string, file: string): Map<string, string> {
  const parts = new Map<string, string>();
  for (const [index, part] of text.split(';').entries()) {
    if (part.trim() === '') continue;
    const equals = part.indexOf('=');
    // The part is not quoted: without a name it may be a piece of the key.
    if (equals < 1) throw malformed(`part ${index + 1} of the connection string in ${file} is not Name=value`);
    parts.set(part.slice(0, equals).trim(), part.slice(equals + 1).trim());
  }
  return parts;
}

const malformed = (message: string) =>
  new AgentError(
    'SECRET_FILE_MALFORMED',
    message,
    'Copy it again; its form is HostName=…;DeviceId=…;ModuleId=…;SharedAccessKey=…',
  );
