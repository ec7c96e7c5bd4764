import * as v from 'valibot';
import { AgentError } from '../base/errors.ts';
import { hostNameProblem } from '../base/host-name.ts';
import { readSecretFile } from '../base/secret-file.ts';
import { secretFile } from '../contract/local-schemas.ts';
import type { IdentityContext } from './identity.ts';
import { identityKind } from './kind.ts';
import { addressAt } from './module-settings.ts';
import { checkedKey } from './shared-access-key.ts';
import { type KeyRing, SharedKeyIdentity } from './shared-keys.ts';

/** A connection string in a file, as the portal and `az iot hub module-identity connection-string show` print it. */
export const connectionString = identityKind({
  kind: 'connectionString',
  schema: v.strictObject({
    kind: v.literal('connectionString'),
    file: secretFile("File with the module's connection string; only its owner may be able to read it."),
  }),
  create: ({ kind, file }, { hub, clock }) =>
    new SharedKeyIdentity({ kind, files: [file], read: () => keyRingOf(readSecretFile(file), file, hub), clock }),
});

function keyRingOf(text: string, file: string, { hostName, gatewayHostName }: IdentityContext['hub']): KeyRing {
  const parts = partsOf(text, file);
  const part = (name: string): string => {
    const value = parts.get(name);
    if (value !== undefined && value !== '') return value;
    const what = name === 'ModuleId' ? 'is for a device, not a module: it lacks ModuleId' : `lacks ${name}`;
    throw malformed(`the connection string in ${file} ${what}`);
  };
  const problem = hostNameProblem(part('HostName'));
  if (problem !== undefined) throw malformed(`HostName of the connection string in ${file} ${problem}`);
  const gateway = gatewayHostName ?? (parts.get('GatewayHostName') || undefined);
  const ids = { deviceId: part('DeviceId'), moduleId: part('ModuleId') };
  const module = addressAt(part('HostName'), ids, gateway);
  const key = checkedKey(part('SharedAccessKey'), file);
  if (
    hostName !== undefined &&
    addressAt(hostName, ids, gateway).hostName.toLowerCase() !== module.hostName.toLowerCase()
  ) {
    const what = `hub.hostName is ${hostName}, but the connection string in ${file} is for ${module.hostName}`;
    throw new AgentError('CONFIG_INVALID', what, 'Remove hub.hostName, or use the connection string of that hub.');
  }
  return { module, keys: [{ source: 'primary', key }] };
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
