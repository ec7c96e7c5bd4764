import { AgentError } from '../core/base/errors.ts';
import { readSecretFile } from '../core/base/secret-file.ts';
import { hostNameProblem, hubNamesOf } from '../core/contract/hub-names.ts';
import { addressOf } from '../core/network/address.ts';

/** The credential of a command. */
export type ServiceCredential = {
  readonly hostName: string;
  /** `host:port` to connect to instead of the hub's name. */
  readonly gateway?: string;
} & (
  | { readonly kind: 'sharedAccessKey'; readonly policy: string; readonly key: string }
  /** Microsoft Entra, through `DefaultAzureCredential`: `az login`, variables, a managed identity. */
  | { readonly kind: 'entra' }
);

/** An environment variable that other Azure IoT Hub tools read, too. */
export const VARIABLE = 'IOTHUB_CONNECTION_STRING';

/**
 * @param file of a connection string
 * @param hostName of a hub, for Microsoft Entra
 * @throws AgentError CONFIG_INCOMPLETE, SECRET_FILE_*; no message contains a part of the secret
 */
export function readCredential(
  { file, hostName }: { readonly file?: string | undefined; readonly hostName?: string | undefined },
  environment: NodeJS.ProcessEnv,
): ServiceCredential {
  if (file !== undefined) return parseConnectionString(readSecretFile(file), file);
  if (hostName !== undefined) return entra(hostName);
  const text = environment[VARIABLE];
  if (text !== undefined && text !== '') return parseConnectionString(text, VARIABLE);
  throw new AgentError(
    'CONFIG_INCOMPLETE',
    'no credential for the hub is given',
    `Name a file with the hub's connection string (--connection-string-file FILE), set ${VARIABLE}, or use Microsoft Entra (--hub HOSTNAME, after "az login").`,
  );
}

function entra(hostName: string): ServiceCredential {
  const problem = hostNameProblem(hostName);
  if (problem !== undefined) {
    throw new AgentError('CONFIG_INVALID', `--hub ${problem}`, 'Give the name of the hub: NAME.azure-devices.net.');
  }
  return { kind: 'entra', hostName: serviceNameOf(hostName) };
}

/** Service APIs are not documented at a hub's name for devices (as of 2026-12-01), so the classic name is used instead. */
function serviceNameOf(hostName: string): string {
  const { classic, device } = hubNamesOf(hostName);
  return hostName.toLowerCase() === device ? classic : hostName;
}

/**
 * `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`, as `az iot hub connection-string show` prints it; with
 * `GatewayHostName=host:port` for a hub whose name does not resolve, such as the emulator.
 */
function parseConnectionString(text: string, where: string): ServiceCredential {
  const parts = new Map(
    text.split(';').map((part) => {
      const equals = part.indexOf('=');
      return [part.slice(0, equals).trim(), part.slice(equals + 1).trim()] as const;
    }),
  );
  const part = (name: string): string => {
    const value = parts.get(name);
    if (value !== undefined && value !== '') return value;
    const isOther = parts.has('DeviceId');
    const problem = isOther ? 'is for a device or module, not for the service' : `has no ${name}`;
    throw malformed(`the connection string in ${where} ${problem}`);
  };
  const hostName = part('HostName');
  const problem = hostNameProblem(hostName);
  if (problem !== undefined) throw malformed(`HostName of the connection string in ${where} ${problem}`);
  const gateway = parts.get('GatewayHostName');
  if (gateway && !isAddress(gateway))
    throw malformed(`GatewayHostName of the connection string in ${where} is not a host or host:port`);
  const policy = part('SharedAccessKeyName');
  const key = part('SharedAccessKey');
  return { kind: 'sharedAccessKey', hostName: serviceNameOf(hostName), policy, key, ...(gateway ? { gateway } : {}) };
}

function isAddress(text: string): boolean {
  try {
    return addressOf(text, 443).host !== '';
  } catch {
    return false;
  }
}

const malformed = (message: string) =>
  new AgentError(
    'SECRET_FILE_MALFORMED',
    message,
    'Copy the connection string of a shared access policy of the hub: HostName=…;SharedAccessKeyName=…;SharedAccessKey=…',
  );
