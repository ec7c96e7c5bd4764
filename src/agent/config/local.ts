import { createHash } from 'node:crypto';
import { dirname, join, relative, resolve } from 'node:path';
import * as v from 'valibot';
import { useCopies } from '../../core/base/credential-copies.ts';
import { AgentError, errnoOf } from '../../core/base/errors.ts';
import { LOG_LEVELS } from '../../core/base/log.ts';
import { notASetting } from '../../core/base/nearest-name.ts';
import { pageOf } from '../../core/base/pages.ts';
import { exists } from '../../core/base/paths.ts';
import { NotPlainError, readNamedFile } from '../../core/base/plain-file.ts';
import { shellWord } from '../../core/base/text.ts';
import { hostName, oneOf, path, secretFile, text } from '../../core/contract/local-schemas.ts';
import { PERMISSIONS, type Permission } from '../../core/contract/method.ts';
import { durationSchema } from '../../core/contract/setting-kinds.ts';
import { proxyUrlProblem } from '../../core/network/proxy-url.ts';
import { LocalLimits } from '../../core/twin/limits.ts';
import { PUBLISHED_OBJECT } from '../../core/twin/published-object.ts';
import { IdentitySettings } from '../identity/kinds.ts';
import { fromEnvironment, overlay } from './environment.ts';
import { parseJson } from './json.ts';
import { entriesOf, isCredentialFile, isPath, isSecretFile, optionFor } from './schema.ts';

/* The file on the device (config/README.md). `LocalSettings` is type, check, default and documentation in one. */

export const DEFAULT_CONFIG_FILE = '/etc/vakt/agent.json';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

const proxyUrl = (description: string) =>
  v.pipe(
    text(description),
    v.check(
      (url) => proxyUrlProblem(url) === undefined,
      ({ input }) => proxyUrlProblem(input) ?? '',
    ),
  );
const level = (description: string, fallback: (typeof LOG_LEVELS)[number]) =>
  v.optional(oneOf(LOG_LEVELS, description), fallback);

const AGE_LIMIT = durationSchema(
  'PT1H',
  'P10Y',
  'P30D',
  'How long an event may wait to be sent, from PT1H to P10Y, before it is dropped and counted. Time in which the agent does not run does not count.',
);

const SYNC_EVERY = durationSchema(
  'PT1S',
  'PT6H',
  'PT30S',
  'Interval at which Low events and counts are synced to disk, from PT1S to PT6H; a longer one writes less to flash. A power cut can lose those of the last interval.',
);

/** `pause` and `resume` share a permission. */
const permission = (name: Permission) =>
  v.optional(
    v.pipe(
      v.boolean('must be true or false'),
      v.description(`Whether the hub's owner may call ${name === 'pause' ? 'pause and resume' : name}.`),
    ),
    true,
  );
type AllowedByDefault = ReturnType<typeof permission>;

const MEGABYTES = 'must be an integer from 48 to 4096';

export const LocalSettings = v.strictObject({
  hub: v.optional(
    v.strictObject({
      hostName: v.optional(
        hostName(
          "The hub's name, such as `contoso.azure-devices.net`; not needed where the identity names it: by a connection string, provisioning, IoT Edge or the identity service.",
        ),
      ),
      gatewayHostName: v.optional(hostName('Gateway to connect to instead of the hub: `host` or `host:port`.')),
      trustedCaFile: v.optional(path("PEM file with the CAs to trust, instead of Node's own list.")),
      transport: v.optional(
        oneOf(
          ['auto', 'mqtt', 'mqttWebSocket'],
          'MQTT over TLS on TCP port 8883 (`mqtt`), over WebSocket on port 443 (`mqttWebSocket`), or on 8883, and on 443 while that cannot be reached (`auto`).',
        ),
        'auto',
      ),
      proxy: v.optional(
        proxyUrl(
          'HTTP proxy for all connections, `http://host:port` or `http://user@host:port`; replaces HTTPS_PROXY and NO_PROXY.',
        ),
      ),
      proxyPasswordFile: v.optional(
        secretFile("File with the password of the proxy's user; only its owner may be able to read it."),
      ),
      restEndpoint: v.optional(
        hostName("`host:port` of the hub's REST API, if it is not port 443 of the hub itself; for tests."),
      ),
    }),
    {},
  ),
  identity: IdentitySettings,
  agentId: v.optional(
    v.pipe(
      text('UUID of this agent in its messages; when absent, the agent makes one and keeps it.'),
      v.regex(UUID, 'must be a UUID'),
    ),
  ),
  stateDirectory: v.optional(path('Folder of the queues and of other state.'), '/var/lib/vakt'),
  queueAgeLimit: v.optional(AGE_LIMIT, 'P30D'),
  store: v.optional(v.strictObject({ syncEvery: v.optional(SYNC_EVERY, 'PT30S') }), {}),
  messageRouting: v.optional(
    oneOf(
      ['security', 'telemetry', 'both'],
      "Who receives messages: your own routes (`telemetry`), Microsoft's security service (`security`), or `both`. The security service gets no SecurityAlert.",
    ),
    'telemetry',
  ),
  twinObjectName: v.optional(text('Name of the configuration object in the module twin.'), PUBLISHED_OBJECT),
  strictStart: v.optional(
    v.pipe(
      v.boolean('must be true or false'),
      v.description(
        'Whether the start aborts with status 76 if the desired configuration is invalid or cannot be read within a minute; otherwise the last good one is used.',
      ),
    ),
    false,
  ),
  logging: v.optional(
    v.strictObject({
      level: level('Lowest level that is logged.', 'info'),
      diagnosticEventLevel: level('Lowest level of log lines that become Diagnostic events.', 'warn'),
    }),
    {},
  ),
  collectors: v.optional(
    v.strictObject({
      loopbackConnections: v.optional(
        v.pipe(
          v.boolean('must be true or false'),
          v.description('Whether ConnectionCreate also reports connections within this machine.'),
        ),
        false,
      ),
    }),
    {},
  ),
  audit: v.optional(
    v.strictObject({
      backlogWait: v.optional(
        v.pipe(
          v.boolean('must be true or false'),
          v.description(
            'Whether programs wait, up to half a second for each record, while the queue of the kernel audit is full, so that fewer events are lost. A user who starts programs in a loop then slows down every program on the device.',
          ),
        ),
        false,
      ),
    }),
    {},
  ),
  detections: v.optional(
    v.strictObject({
      enabled: v.optional(
        v.pipe(
          v.boolean('must be true or false'),
          v.description('Whether detection rules evaluate events; false overrides the module twin.'),
        ),
        true,
      ),
      rulesDirectory: v.optional(
        path(
          'Folder of your own rules, Sigma in YAML. It must belong to root, and no other user may write to it; best let only root read it.',
        ),
        '/etc/vakt/rules.d',
      ),
      badAddressesFile: v.optional(
        path('File with addresses and networks, one per line; a connection to one of them raises an alert.'),
      ),
      redact: v.optional(
        v.pipe(
          v.boolean('must be true or false'),
          v.description('Whether what looks like a secret in a command line is replaced in alerts.'),
        ),
        true,
      ),
    }),
    {},
  ),
  directMethods: v.optional(
    v.strictObject(
      Object.fromEntries(PERMISSIONS.map((name) => [name, permission(name)])) as Record<Permission, AllowedByDefault>,
    ),
    {},
  ),
  limits: v.optional(LocalLimits, {}),
  memoryBudgetInMegabytes: v.optional(
    v.pipe(
      v.number(MEGABYTES),
      v.safeInteger(MEGABYTES),
      v.minValue(48, MEGABYTES),
      v.maxValue(4096, MEGABYTES),
      v.description(
        'Memory excluding pages of program files, in units of 1024 × 1024 bytes; above it, Low events are dropped and counted.',
      ),
    ),
    96,
  ),
  hostRoot: v.optional(path("Where the host's root file system is mounted; differs from `/` in a container."), '/'),
  controlSocket: v.optional(path('Unix socket on which the agent answers `vakt status`.'), '/run/vakt/control.sock'),
});
export type LocalSettings = v.InferOutput<typeof LocalSettings>;

/** The hub's name in config/agent.json and in the examples. No device can connect to it. */
export const EXAMPLE_HUB = 'contoso.azure-devices.net';

/**
 * Call before connecting. Refuses a copied example whose hub was not changed.
 *
 * @throws {AgentError} CONFIG_INCOMPLETE
 */
export function refuseExampleHub({ hub }: LocalSettings, file: string = DEFAULT_CONFIG_FILE): void {
  if (hub.hostName?.toLowerCase() !== EXAMPLE_HUB) return;
  const what = `hub.hostName is still the example's, ${EXAMPLE_HUB}`;
  const remedy = `Set hub.hostName in ${file} to the name of your hub ("az iot hub list --query [].properties.hostName" shows it), and make sure that identity is that of your device.`;
  throw new AgentError('CONFIG_INCOMPLETE', what, remedy);
}

/**
 * Reads the local configuration: the file, overridden by environment variables (`VAKT_HUB__HOST_NAME` sets
 * `hub.hostName`). Relative paths start at the file's folder. For secrets and certificates that systemd has copied
 * (credentials.ts), this process reads the copies from then on; the settings name the files.
 *
 * Names that are not settings are ignored, with a warning: an older version must start with the file of a newer one.
 *
 * @param file `undefined`: the default file, which may be missing when at least one variable is set
 * @param identity `optional`: the identity and the default file may be missing; the result then has an identity that
 *   cannot connect
 * @throws {AgentError} CONFIG_FILE_MISSING, CONFIG_FILE_UNREADABLE, CONFIG_FILE_NOT_JSON, CONFIG_INCOMPLETE,
 *   CONFIG_INVALID (all faults at once)
 */
export function readLocalConfiguration(
  file: string | undefined,
  environment: NodeJS.ProcessEnv,
  { identity = 'required' }: { identity?: 'required' | 'optional' } = {},
): LocalConfiguration {
  const origin = file ?? DEFAULT_CONFIG_FILE;
  const { overrides, unknown } = fromEnvironment(LocalSettings, environment);
  const fileText = readConfigFile(origin, file === undefined && (overrides.length > 0 || identity === 'optional'));
  const parsed = parseJson(fileText);
  if ('problem' in parsed) {
    const remedy = `Correct the JSON of ${origin}; comments and trailing commas are allowed.`;
    throw new AgentError('CONFIG_FILE_NOT_JSON', `${origin} is not JSON: ${parsed.problem}`, remedy);
  }
  const value = withIdentity(overlay(parsed.value, overrides), identity);
  const strangers: string[] = [...unknown];
  const result = v.safeParse(LocalSettings, onlySettings(value, strangers));
  const faults = [...parsed.repeated, ...lists(value)];
  if (!result.success || faults.length > 0) throw invalid(origin, result.issues ?? [], [...strangers, ...faults]);
  const folders = { configuration: dirname(resolve(origin)), credentials: environment.CREDENTIALS_DIRECTORY };
  const settings = withAbsolutePaths(LocalSettings, result.output, folders.configuration) as LocalSettings;
  useCopies(copiesOf(credentialFilesOf(settings), folders));
  return { settings, warnings: bounded(strangers) };
}

/** The same, without the warnings. */
export const readLocalSettings = (...parameters: Parameters<typeof readLocalConfiguration>): LocalSettings =>
  readLocalConfiguration(...parameters).settings;

/** A valid configuration, and a message for each name in it that is not a setting. */
export interface LocalConfiguration {
  readonly settings: LocalSettings;
  readonly warnings: readonly string[];
}

const MAX_WARNINGS = 20;
const MAX_WARNING_CHARACTERS = 200;

const bounded = (warnings: readonly string[]): string[] => [
  ...warnings.slice(0, MAX_WARNINGS).map((warning) => warning.slice(0, MAX_WARNING_CHARACTERS)),
  ...(warnings.length > MAX_WARNINGS ? [`${warnings.length - MAX_WARNINGS} more names are not settings`] : []),
];

/** Paths of a configuration, and of the secret files that its settings name. @param file as for readLocalSettings */
export const filesOf = (
  settings: LocalSettings,
  file: string | undefined,
): { readonly configuration: string; readonly secrets: readonly string[] } => ({
  configuration: resolve(file ?? DEFAULT_CONFIG_FILE),
  secrets: pathsIn(settings, isSecretFile),
});

/** Paths of secrets and certificates: of all that systemd may have copied. */
export const credentialFilesOf = (settings: LocalSettings): readonly string[] => pathsIn(settings, isCredentialFile);

const NO_IDENTITY: IdentitySettings = { kind: 'connectionString', file: '/nonexistent' };

const withIdentity = (value: unknown, identity: 'required' | 'optional'): unknown =>
  identity === 'optional' && typeof value === 'object' && value !== null && !Object.hasOwn(value, 'identity')
    ? { ...value, identity: NO_IDENTITY }
    : value;

/** In bytes. A file with every setting and its explanation has 8 KB. */
const MAX_FILE_BYTES = 256 * 1024;

function readConfigFile(path: string, mayBeMissing: boolean): string {
  try {
    return readNamedFile(path, MAX_FILE_BYTES);
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') {
      if (mayBeMissing) return '{}';
      const remedy = `Create it (${pageOf('settings')} lists every setting), or name another one with --config FILE.`;
      throw new AgentError('CONFIG_FILE_MISSING', `${path} does not exist`, remedy, { cause });
    }
    const why = cause instanceof NotPlainError ? cause.message : errnoOf(cause);
    const remedy =
      errnoOf(cause) === 'EACCES'
        ? `Let the user that the agent runs as read it: chmod 644 ${shellWord(path)}. It contains no secret.`
        : `Make ${path} a regular file of at most ${MAX_FILE_BYTES} bytes that this user can read.`;
    throw new AgentError('CONFIG_FILE_UNREADABLE', `cannot read ${path}: ${why}`, remedy, { cause });
  }
}

/** SHA-256 of a configuration file, in hex; empty if there is none that can be read. */
export function hashOfLocalFile(path: string): string {
  try {
    return createHash('sha256').update(readNamedFile(path, MAX_FILE_BYTES)).digest('hex');
  } catch {
    return '';
  }
}

type Issue = v.BaseIssue<unknown>;

function invalid(origin: string, issues: readonly Issue[], unknown: readonly string[]): AgentError {
  const faults = issues.filter(({ expected }) => expected !== 'never'); // of unknown settings it names only the first
  const lines = faults.map((issue) => `${v.getDotPath(issue) ?? '(the whole)'} ${problem(issue)}`);
  const missing = unknown.length === 0 && faults.every(({ input }) => input === undefined);
  const remedy = `Correct ${origin}, then try it with "vakt check".`;
  const id = missing ? 'CONFIG_INCOMPLETE' : 'CONFIG_INVALID';
  return new AgentError(id, `${origin} is not valid: ${[...unknown, ...lines].join('; ')}`, remedy);
}

function problem(issue: Issue): string {
  if (issue.input === undefined) return 'is missing';
  if (issue.expected === 'Object') return 'must be an object';
  return issue.type === 'variant' ? `must be one of ${issue.expected}` : issue.message.replace(/^Invalid.*?: /, '');
}

/** A message for each list: no setting is a list, but the schema treats a list as an object without members. */
function lists(value: unknown, above: readonly string[] = []): string[] {
  if (Array.isArray(value)) return [`${above.join('.') || '(the whole)'} must not be a list`];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) => lists(member, [...above, name]));
}

/** The value without names that are not settings. Adds a message for each to `unknown`, with the name probably meant. */
function onlySettings(
  value: unknown,
  unknown: string[],
  schema: unknown = LocalSettings,
  above: readonly string[] = [],
): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const known = entriesOf(schema);
  const allowed = entriesOf(optionFor(schema, value));
  const members = Object.entries(value).flatMap(([name, member]) => {
    const path = [...above, name];
    if (Object.hasOwn(allowed, name)) {
      const isGroup = Object.keys(entriesOf(allowed[name])).length > 0;
      return [[name, isGroup ? onlySettings(member, unknown, allowed[name], path) : member]];
    }
    const isOfOtherKind = Object.hasOwn(known, name);
    const why = isOfOtherKind ? 'is not a setting of this kind' : notASetting(name, Object.keys(allowed));
    unknown.push(`${path.join('.')} ${why}`);
    return [];
  });
  return Object.fromEntries(members);
}

function withAbsolutePaths(schema: unknown, value: unknown, folder: string): unknown {
  if (typeof value === 'string' && isPath(schema)) return resolve(folder, value);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const entries = entriesOf(schema);
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, withAbsolutePaths(entries[key], member, folder)]),
  );
}

/** The values of all settings that are meant, by their schemas. */
function pathsIn(
  value: unknown,
  isPathSchema: (schema: unknown) => boolean,
  schema: unknown = LocalSettings,
): string[] {
  if (typeof value === 'string') return isPathSchema(schema) ? [value] : [];
  if (typeof value !== 'object' || value === null) return [];
  const entries = entriesOf(schema);
  return Object.entries(value).flatMap(([key, member]) => pathsIn(member, isPathSchema, entries[key]));
}

/**
 * systemd's copies of secret files, by file; a file without one is left out. The files themselves can belong to root, and be
 * unreadable for the agent. See LoadCredential= in systemd.exec(5).
 *
 * A copy's name is the file's path relative to the configuration's folder, with `_` for `/`: with
 * `LoadCredential=secrets:/etc/vakt/secrets`, `secrets_module.key` is the copy of `/etc/vakt/secrets/module.key`. So one
 * configuration serves the agent and root, who reads the file.
 *
 * @param files absolute paths
 */
export function copiesOf(files: readonly string[], { configuration, credentials }: Folders): Map<string, string> {
  if (credentials === undefined) return new Map();
  const named = files
    .map((file) => [file, relative(configuration, file)] as const)
    .filter(([, name]) => !name.startsWith('../'))
    .map(([file, name]) => [file, join(credentials, name.replaceAll('/', '_'))] as const);
  return new Map(named.filter(([, copy]) => exists(copy)));
}

/** Absolute paths. */
interface Folders {
  /** Where the configuration file is. */
  readonly configuration: string;
  /** systemd's `CREDENTIALS_DIRECTORY`; `undefined` when it passes no credentials. */
  readonly credentials: string | undefined;
}
