import { matchesGlob } from '../../pattern/glob.ts';
import { type Comparison, compare } from '../comparison.ts';
import { isAtLeast, versionOf } from '../facts/packages.ts';
import { spaceSettings } from '../syntax/settings.ts';
import type { System } from '../system.ts';
import { cannotEvaluate, cannotRead, fail, missing, pass, passIf, type Verdict } from '../verdict.ts';

/** A setting of sshd, see the primitive config. */
interface SshdRequirement {
  readonly keys: readonly string[];
  readonly want: Comparison;
  readonly default?: string | undefined;
  readonly defaultSince?: string | undefined;
}

export const SSHD_CONFIG = '/etc/ssh/sshd_config';

/** The general value must pass, and so must the values of all `Match` blocks. */
export async function evaluateSshd(of: SshdRequirement, system: System): Promise<Verdict> {
  const config = await system.sshd();
  if (config.unreadable !== undefined) return cannotRead(config.unreadable, SSHD_CONFIG);
  if (!config.exists && of.default === undefined) return missing('fail', SSHD_CONFIG);
  const keys = of.keys.map((key) => key.toLowerCase());
  const all = config.settings.filter(({ key }) => keys.includes(key));
  const general = all.find(({ match }) => match === undefined);
  const value = general === undefined ? of.default : withDefault(general.value, of);
  if (value === undefined)
    return compare(of.want, undefined) === true ? pass('not set', SSHD_CONFIG) : fail('not set', SSHD_CONFIG);
  if (general === undefined || value !== general.value) {
    const unknown = await whyUnknown(of, system);
    if (unknown !== undefined) return unknown;
  }
  const actual = general?.value ?? `not set, so ${of.default}`;
  if (compare(of.want, value) !== true) return fail(actual, general?.where ?? SSHD_CONFIG);
  const worse = all.find((each) => each.match !== undefined && compare(of.want, withDefault(each.value, of)) !== true);
  if (worse !== undefined) return fail(`${worse.value} (Match ${worse.match})`, worse.where);
  return passIf(true, actual, general?.where ?? SSHD_CONFIG);
}

/** Resolves changes to a default list of algorithms: `+` and `^` add to it, `-` removes; see sshd_config(5). */
function withDefault(value: string, { want, default: byDefault = '' }: SshdRequirement): string {
  if (want.op !== 'noneOf' || !/^[+^-]/.test(value)) return value;
  const named = value.slice(1).split(',');
  if (!value.startsWith('-')) return [byDefault, ...named].join(',');
  return byDefault
    .split(',')
    .filter((name) => !named.some((pattern) => matchesGlob(pattern, name)))
    .join(',');
}

/** Returns `err` if the default applies, but is only known for a later version than the installed one. */
async function whyUnknown({ defaultSince }: SshdRequirement, system: System): Promise<Verdict | undefined> {
  if (defaultSince === undefined) return undefined;
  const version = versionOf(['openssh-server', 'openssh'], await system.packages());
  return isAtLeast(version, defaultSince) === false
    ? cannotEvaluate(`not set, and the default of OpenSSH ${version} is not known`, SSHD_CONFIG)
    : undefined;
}

/** A setting of mosquitto, see the primitive config. */
interface MosquittoRequirement {
  readonly keys: readonly string[];
  readonly want: Comparison;
}

export const MOSQUITTO_CONF = '/etc/mosquitto/mosquitto.conf';

/** Every value must pass, as each listener can have one of its own: mosquitto.conf(5). */
export async function evaluateMosquitto({ keys, want }: MosquittoRequirement, system: System): Promise<Verdict> {
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
