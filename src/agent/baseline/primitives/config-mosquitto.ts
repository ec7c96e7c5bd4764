import { type Comparison, compare } from '../comparison.ts';
import { spaceSettings } from '../syntax/settings.ts';
import type { System } from '../system.ts';
import { cannotEvaluate, cannotRead, fail, missing, pass, type Verdict } from '../verdict.ts';

/** A setting of mosquitto, see the primitive config. */
interface Requirement {
  readonly keys: readonly string[];
  readonly want: Comparison;
}

export const MOSQUITTO_CONF = '/etc/mosquitto/mosquitto.conf';

/** Every value must pass, as each listener can have one of its own: mosquitto.conf(5). */
export async function evaluateMosquitto({ keys, want }: Requirement, system: System): Promise<Verdict> {
  if ('missing' in system.files.text(MOSQUITTO_CONF)) return missing('skip', MOSQUITTO_CONF);
  const { paths, unseen } = filesOf(system);
  let problem = unseen;
  let good: Verdict | undefined;
  for (const path of paths) {
    const look = system.files.text(path);
    await system.pace();
    if ('unreadable' in look) problem ??= cannotRead(look, path);
    if (!('found' in look)) continue;
    for (const { value, line } of keys.flatMap((key) => spaceSettings(look.found, key))) {
      const where = `${path}:${line}`;
      if (compare(want, value) !== true) return fail(value, where);
      good ??= pass(value, where);
    }
  }
  return problem ?? good ?? fail('not set', MOSQUITTO_CONF);
}

/** The main file, and the files named `*.conf` in the folders that it includes. Files in these include no others. */
function filesOf({ files }: System): { paths: readonly string[]; unseen?: Verdict } {
  const paths = [MOSQUITTO_CONF];
  const main = files.text(MOSQUITTO_CONF);
  let unseen: Verdict | undefined;
  for (const { value: folder, line } of 'found' in main ? spaceSettings(main.found, 'include_dir') : []) {
    if (!folder.startsWith('/')) unseen ??= cannotEvaluate('a relative path is included', `${MOSQUITTO_CONF}:${line}`);
    const names = files.names(folder);
    if ('unreadable' in names) unseen ??= cannotRead(names, folder);
    if ('found' in names)
      paths.push(...names.found.filter((name) => name.endsWith('.conf')).map((name) => `${folder}/${name}`));
  }
  return unseen === undefined ? { paths } : { paths, unseen };
}
