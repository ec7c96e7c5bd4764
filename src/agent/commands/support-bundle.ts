import { hostname } from 'node:os';
import { systemClock } from '../../core/base/clock.ts';
import { printable } from '../../core/base/text.ts';
import { readArguments, UsageError, type World } from '../../core/command-line/command.ts';
import { DEFAULT_CONFIG_FILE } from '../config/local.ts';
import { callersName, refuseUnwritable, resultFile, writeResult } from './result-file.ts';
import { hardwareItem, itemsOf } from './support-bundle/contents.ts';
import { manifest, type Outcome, outcomeOf } from './support-bundle/item.ts';
import { knownSecrets } from './support-bundle/secrets.ts';
import { gzip, tar } from './tar.ts';

export const summary = 'Write one file with all that is needed to find the cause of a problem, without secrets.';
export const usage = `vakt support-bundle FILE [--config FILE] [--hardware]

Writes FILE, a tar.gz that only you can read, and prints what is in it: the findings of "vakt check", the status and the
diagnostics of the running agent, the configuration in force, the last lines of the log, versions, facts about the kernel,
the agent's counts, and a list of the files of its state directory. It contains no events. What could not be read is listed
with the reason, so it also helps when the agent does not run. Run it as root, so that it can read all.

  --config FILE   local configuration; default ${DEFAULT_CONFIG_FILE}
  --hardware      also ask for firmware, memory modules, disks with their health and temperatures, battery, graphics,
                  network interfaces and services; this runs programs of this system, also by a shell

Secrets are replaced by [redacted]: the contents of all secret files, and whatever looks like a key or a token. Names of
hosts, users, folders and addresses stay in it. Nothing is sent.

Exit status: 0 FILE was written; 1 it could not be written; 2 wrong usage.`;

/** The folder in the archive. */
const FOLDER = 'vakt-support';

export async function run(args: readonly string[], world: World): Promise<number> {
  const options = { config: { type: 'string' }, hardware: { type: 'boolean' } } as const;
  const { values, positionals } = readArguments(args, options, 1);
  const [given] = positionals;
  if (given === undefined) throw new UsageError('name the FILE to write, for example vakt-support.tar.gz');
  const file = resultFile(given);
  refuseUnwritable(file);
  const at = systemClock.now();
  const outcomes = await gather(values, world);
  const list = manifest(outcomes, { at, user: callersName(), host: hostname() });
  for (const line of list) world.stdout(line);
  world.stdout('');
  const archive = pack(list, outcomes, at);
  writeResult(file, archive);
  world.stdout(printable(`Written: ${file}, ${archive.length} bytes.`));
  return 0;
}

async function gather(
  { config, hardware = false }: { config?: string | undefined; hardware?: boolean | undefined },
  { environment, signal, stderr }: World,
): Promise<Outcome[]> {
  const secrets = knownSecrets(config ?? DEFAULT_CONFIG_FILE, environment);
  stderr('Looking at the agent, which takes up to two minutes if the network does not answer …');
  const items = await itemsOf({ config, environment, signal, foundSecrets: (more) => secrets.push(...more) });
  const outcomes: Outcome[] = [];
  for (const item of hardware ? [...items, hardwareItem(signal)] : items)
    outcomes.push(await outcomeOf(item, { secrets, signal }));
  return outcomes;
}

function pack(list: readonly string[], outcomes: readonly Outcome[], at: Date): Buffer {
  const files = outcomes.flatMap((one) => ('text' in one ? [[one.name, one.text] as const] : []));
  const entries = [['MANIFEST', `${list.join('\n')}\n`] as const, ...files].map(([name, text]) => ({
    kind: 'file' as const,
    path: `${FOLDER}/${name}`,
    mode: 0o600,
    contents: Buffer.from(text),
  }));
  return gzip(tar(entries, Math.floor(at.getTime() / 1_000)));
}
