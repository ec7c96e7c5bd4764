import * as v from 'valibot';
import { AgentError } from '../../core/base/errors.ts';
import { pageOf } from '../../core/base/pages.ts';
import { readSecretFile } from '../../core/base/secret-file.ts';
import { HUB_ID_PROBLEM, hostNameProblem, isHubId } from '../../core/contract/hub-names.ts';
import { secretFile } from '../../core/contract/local-schemas.ts';
import type { IdentityContext } from './identity.ts';
import { addressAt, areSameHub, identityKind, namedBy } from './kind.ts';
import { checkedKey } from './sas-token.ts';
import { type KeyRing, SharedKeyIdentity } from './shared-keys.ts';

/** A connection string in a file, as the portal shows it; the CLI prints it within JSON, unless asked not to. */
export const connectionString = identityKind({
  kind: 'connectionString',
  schema: v.strictObject({
    kind: v.literal('connectionString'),
    file: secretFile("File with the module's connection string; only its owner may be able to read it."),
  }),
  create: ({ kind, file }, { hub, clock }) =>
    new SharedKeyIdentity({
      kind,
      files: [file],
      namedBy: namedBy(`HostName (or GatewayHostName) in ${file}`, hub),
      read: () => keyRingOf(readSecretFile(file), file, hub),
      clock,
    }),
});

function keyRingOf(text: string, file: string, { hostName, gatewayHostName }: IdentityContext['hub']): KeyRing {
  const parts = partsOf(text, file);
  const part = (name: string): string => {
    const value = parts.get(name);
    if (value !== undefined && value !== '') return value;
    if (name === 'SharedAccessKey' && isByCertificate(parts)) throw needsCertificate(file);
    const problem = name === 'ModuleId' ? 'is for a device, not a module: it lacks ModuleId' : `lacks ${name}`;
    throw malformed(`the connection string in ${file} ${problem}`);
  };
  const checked = (name: string, problemOf: (value: string) => string | undefined): string => {
    const problem = problemOf(part(name));
    if (problem !== undefined) throw malformed(`${name} of the connection string in ${file} ${problem}`);
    return part(name);
  };
  const hub = checked('HostName', hostNameProblem);
  const namesGateway = gatewayHostName === undefined && Boolean(parts.get('GatewayHostName'));
  const gateway = namesGateway ? checked('GatewayHostName', hostNameProblem) : gatewayHostName;
  const ids = { deviceId: checked('DeviceId', hubIdProblem), moduleId: checked('ModuleId', hubIdProblem) };
  const module = addressAt(hub, ids, gateway);
  const key = checkedKey(part('SharedAccessKey'), file);
  if (hostName !== undefined && !areSameHub(hostName, module.hostName)) {
    const message = `hub.hostName is ${hostName}, but the connection string in ${file} is for ${module.hostName}`;
    throw new AgentError('CONFIG_INVALID', message, 'Remove hub.hostName, or use the connection string of that hub.');
  }
  return { module, keys: [{ source: 'primary', key }] };
}

const hubIdProblem = (id: string) => (isHubId(id) ? undefined : HUB_ID_PROBLEM);

/** The portal shows this for a module whose credential is a certificate. */
const isByCertificate = (parts: ReadonlyMap<string, string>) => parts.get('x509')?.toLowerCase() === 'true';

const needsCertificate = (file: string) => {
  const message = `the connection string in ${file} has x509=true: its module has a certificate instead of a key`;
  return new AgentError(
    'SECRET_FILE_MALFORMED',
    message,
    `Set identity.kind to "moduleCertificate": see ${pageOf('identity')}.`,
  );
};

/** `Name=value;Name=value`. A value can contain equals signs, as base64 does. */
function partsOf(text: string, file: string): Map<string, string> {
  if (/^\s*[{["]/.test(text)) {
    const message = `${file} has a connection string in quotation marks, as in JSON`;
    const remedy = 'Write only the text between the quotation marks, which begins with HostName=, to the file.';
    throw new AgentError('SECRET_FILE_MALFORMED', message, remedy);
  }
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
