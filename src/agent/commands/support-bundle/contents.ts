import { arch } from 'node:os';
import { readOptional } from '../../../core/base/bounded-file.ts';
import { systemClock } from '../../../core/base/clock.ts';
import { askControlSocket } from '../../../core/base/control-socket.ts';
import { minutes } from '../../../core/base/duration.ts';
import { VERSION } from '../../../core/base/version.ts';
import { readLastGood } from '../../config/last-good.ts';
import { inRoot } from '../../host/in-root.ts';
import { OS_RELEASE_FILES, parseOsRelease } from '../../host/os-release.ts';
import { askServiceUnit, type ServiceUnit } from '../../linux/self/service-unit.ts';
import { processOf } from '../check/process.ts';
import { describe, type Examined, examine } from '../check.ts';
import { askHardware } from '../hardware/ask.ts';
import type { Item } from './item.ts';
import { kernelFacts } from './kernel.ts';
import { books, logLines, stateLayout } from './state.ts';

/** For all checks together; each step has a limit of its own. */
const LONGEST_CHECK = minutes(2);
const MAX_OS_RELEASE_BYTES = 64 * 1024;

interface Options {
  readonly config: string | undefined;
  readonly environment: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  /** Called with the identity's secrets in memory, such as derived keys. */
  readonly foundSecrets: (secrets: readonly string[]) => void;
}

/** What an archive is made of, in its order. Checks everything first, since the other items depend on what that finds. */
export async function itemsOf({ config, environment, signal, foundSecrets }: Options): Promise<readonly Item[]> {
  const examined = await systemClock
    .within(LONGEST_CHECK, 'vakt check', examine(config, environment, signal))
    .catch((problem: unknown) => {
      signal.throwIfAborted();
      return { problem };
    });
  if ('problem' in examined) return [failing('check.txt', CHECK, examined.problem), ...withoutAgent(undefined, signal)];
  const { identity } = examined.situation;
  if (!('id' in identity)) foundSecrets(identity.identity.secrets());
  return [...ofCheck(examined), ...ofAgent(examined, signal), ...withoutAgent(examined, signal)];
}

const CHECK = 'findings of "vakt check --verbose"';

const ofCheck = ({ findings }: Examined): readonly Item[] => [
  { name: 'check.txt', about: CHECK, read: () => `${describe(findings, true).join('\n')}\n` },
  { name: 'check.json', about: 'the same for programs', read: () => findings },
];

/** What only a running agent can tell, and its files. */
function ofAgent({ situation, invalid }: Examined, signal: AbortSignal): readonly Item[] {
  const { agent, local, configFile } = situation;
  return [
    {
      name: 'status.json',
      about: "the running agent's status",
      read: () => {
        if (agent.status === undefined)
          throw agent.statusError ?? new Error(`no agent answers at ${local.controlSocket}`);
        return agent.status;
      },
    },
    {
      name: 'diagnostics.json',
      about: "the running agent's configuration in force, local and from the twin, and its last warnings and errors",
      read: () => askControlSocket(local.controlSocket, '/diagnostics', { signal }),
    },
    {
      name: 'configuration/local.json',
      about: `${configFile} with the environment's variables, as this command reads it`,
      read: () => {
        if (invalid !== undefined) throw invalid;
        return local;
      },
    },
    {
      name: 'configuration/last-good.json',
      about: 'the last valid configuration from the module twin, as kept on disk',
      read: () => readLastGood(local.stateDirectory),
    },
    { name: 'books.json', about: "the agent's counts, as kept on disk", read: () => books(local.stateDirectory) },
    {
      name: 'state-directory.txt',
      about: 'the files of the state directory, without their contents',
      read: () => stateLayout(local.stateDirectory),
    },
  ];
}

/** What can be read whatever the agent does. @param examined `undefined` if the checks did not end */
const withoutAgent = (examined: Examined | undefined, signal: AbortSignal): readonly Item[] => [
  { name: 'log.txt', about: 'the last lines of the log, from the journal', read: () => logLines(signal) },
  { name: 'service.json', about: 'the state of the systemd service', read: () => service(signal) },
  {
    name: 'versions.json',
    about: 'versions of the agent, Node, the kernel and the system',
    read: () => versions(examined?.situation.local.hostRoot ?? '/'),
  },
  {
    name: 'kernel.txt',
    about: "facts about the kernel, and about the agent's process",
    read: () => kernelFacts(processOf(examined?.situation.agent ?? {})),
  },
];

/** @throws never: a question without an answer is listed in it with the reason */
export const hardwareItem = (signal: AbortSignal): Item => ({
  name: 'hardware.json',
  about: 'hardware and services, by systeminformation',
  read: () => askHardware({ signal }),
});

const failing = (name: string, about: string, error: unknown): Item => ({
  name,
  about,
  read: () => {
    throw error;
  },
});

async function service(signal: AbortSignal): Promise<ServiceUnit> {
  const unit = await askServiceUnit(signal);
  if (unit === undefined) throw new Error('systemd does not run here, or has no service vakt');
  return unit;
}

function versions(hostRoot: string): Record<string, unknown> {
  const { node, v8, openssl, uv } = process.versions;
  const text = OS_RELEASE_FILES.map((path) => readOptional(inRoot(hostRoot, path), MAX_OS_RELEASE_BYTES)).find(Boolean);
  const {
    NAME,
    VERSION: version,
    ID,
    VERSION_ID,
    BUILD_ID,
    VARIANT_ID,
    IMAGE_ID,
    IMAGE_VERSION,
  } = parseOsRelease(text ?? '');
  return {
    agent: VERSION,
    program: process.argv[1],
    node,
    v8,
    uv,
    openssl,
    runtime: process.execPath,
    flags: process.execArgv,
    architecture: arch(),
    system: { NAME, VERSION: version, ID, VERSION_ID, BUILD_ID, VARIANT_ID, IMAGE_ID, IMAGE_VERSION },
  };
}
