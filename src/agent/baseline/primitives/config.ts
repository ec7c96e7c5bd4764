import * as v from 'valibot';
import { isGlob } from '../../host/host-files.ts';
import { type Comparison, compare, comparison, instruction, inWords, type Value } from '../comparison.ts';
import { paths, text, texts } from '../fields.ts';
import { primitive } from '../primitive.ts';
import {
  commentedIniSetting,
  equalsSetting,
  iniSetting,
  jsonSetting,
  rsyslogSetting,
  type Setting,
  spaceSetting,
} from '../syntax/settings.ts';
import type { System } from '../system.ts';
import { cannotEvaluate, cannotRead, fail, IF_MISSING, missing, pass, passIf, type Verdict } from '../verdict.ts';
import { evaluateMosquitto, evaluateSshd, MOSQUITTO_CONF, SSHD_CONFIG } from './config-formats.ts';

const inFiles = {
  /**
   * Paths without wildcards are alternatives: the first existing file counts. The others are drop-ins, read in the order of
   * their names. If several have the same name, only the one in the folder listed first is read.
   */
  files: paths,
  key: text,
  want: comparison,
  /** The program's default. If absent, the rule fails if the setting is missing. */
  default: v.optional(v.union([v.string(), v.boolean(), v.array(v.string())])),
  /** The result if none of the files exists; `default`: the program's default is evaluated. */
  ifMissing: v.picklist([...IF_MISSING, 'default']),
};

const params = v.variant('syntax', [
  v.strictObject({
    syntax: v.literal('ini'),
    section: v.optional(text),
    /** The program's default differs by build; the main file that comes with it has it in a comment. */
    defaultInComment: v.optional(v.literal(true)),
    ...inFiles,
  }),
  v.strictObject({ syntax: v.picklist(['equals', 'space', 'rsyslog', 'json']), ...inFiles }),
  v.strictObject({
    syntax: v.literal('sshd'),
    /** Alternative names of the setting. */
    keys: texts,
    want: comparison,
    default: v.optional(v.string()),
    /** The first version of OpenSSH that has this default. */
    defaultSince: v.optional(v.pipe(v.string(), v.regex(/^\d{1,2}\.\d{1,2}$/))),
  }),
  /** All values of all of its names are evaluated. */
  v.strictObject({ syntax: v.literal('mosquitto'), keys: texts, want: comparison }),
]);
type Params = v.InferOutput<typeof params>;
type InFiles = Exclude<Params, { syntax: 'sshd' | 'mosquitto' }>;

/** A setting as the program reads it: its default, overridden by its main file, overridden by drop-ins. */
export const config = primitive({
  name: 'config',
  summary: 'The effective value of a setting in configuration files and their drop-ins.',
  params,
  expected: (of) => `${keyOf(of)}: ${inWords(of.want)}`,
  remedy(of) {
    const place = 'files' in of ? (of.files[0] ?? '') : MAIN_FILES[of.syntax];
    const section = of.syntax === 'ini' && of.section !== undefined ? ` in [${of.section}]` : '';
    return `In ${place}, ${instruction(of.want, keyOf(of))}${section}.`;
  },
  evaluate(of, system) {
    if (of.syntax === 'sshd') return evaluateSshd(of, system);
    return of.syntax === 'mosquitto' ? evaluateMosquitto(of, system) : evaluateFiles(of, system);
  },
});

const MAIN_FILES = { sshd: SSHD_CONFIG, mosquitto: MOSQUITTO_CONF };

const keyOf = (of: Params) => ('keys' in of ? of.keys.join(' or ') : of.key.replaceAll('|', ' or '));

async function evaluateFiles(of: InFiles, system: System): Promise<Verdict> {
  const { all, unseen } = filesOf(of, system);
  let value: Value;
  let where: string | undefined;
  let read = 0;
  for (const path of all) {
    const look = system.files.text(path);
    await system.pace();
    if ('unreadable' in look) return cannotRead(look, path);
    if (!('found' in look)) continue;
    read += 1;
    if (of.syntax === 'json') {
      const found = fromJson(look.found, of.key);
      if (found === undefined) return cannotEvaluate('is not valid JSON', path);
      if (found.value === undefined) continue;
      value = found.value;
      where = path;
      continue;
    }
    const setting = settingIn(of, look.found);
    if (setting === undefined) continue;
    value = setting.value;
    where = `${path}:${setting.line}`;
  }
  if (unseen !== undefined) return unseen;
  if (read === 0 && of.ifMissing !== 'default') return missing(of.ifMissing, of.files.join(', '));
  if (value === undefined && of.syntax === 'ini' && of.defaultInComment) return evaluateCommented(of, system);
  if (value === undefined) return evaluateDefault(of.want, of.default, of.files[0] ?? '');
  const holds = compare(of.want, value);
  const actual = shown(value);
  return holds === undefined ? fail(`${actual}, which is not a valid value`, where) : passIf(holds, actual, where);
}

/** Evaluates the program's default if nothing is set. */
function evaluateDefault(want: Comparison, byDefault: Value, where: string): Verdict {
  if (byDefault === undefined)
    return compare(want, undefined) === true ? pass('not set', where) : fail('not set', where);
  return passIf(compare(want, byDefault) === true, `not set, so ${shown(byDefault)}`, where);
}

/** Evaluates the default in a comment of a main file: that in the lowest folder, which operators do not edit. */
function evaluateCommented(
  { files, key, section, want }: Extract<InFiles, { syntax: 'ini' }>,
  system: System,
): Verdict {
  for (const path of files.filter((each) => !isGlob(each)).reverse()) {
    const look = system.files.text(path);
    if ('unreadable' in look) return cannotRead(look, path);
    const setting = 'found' in look ? commentedIniSetting(look.found, key, section) : undefined;
    if (setting !== undefined) return evaluateDefault(want, setting.value, `${path}:${setting.line}`);
  }
  return cannotEvaluate('not set, and the default of this build is not known', files[0]);
}

const shown = (value: Value) => (typeof value === 'object' ? value.join(' ') || 'nothing' : String(value));

/** The main file and the drop-ins, in the order in which they are read. */
function filesOf({ files }: InFiles, system: System): { all: readonly string[]; unseen?: Verdict } {
  const main = files.filter((path) => !isGlob(path)).find((path) => !('missing' in system.files.stat(path)));
  const { paths, unreadable } = system.files.dropIns(files.filter(isGlob));
  const all = main === undefined ? paths : [main, ...paths];
  return unreadable === undefined ? { all } : { all, unseen: cannotRead(unreadable, files.find(isGlob) ?? '') };
}

function settingIn(of: InFiles, content: string): Setting | undefined {
  if (of.syntax === 'ini') return iniSetting(content, of.key, of.section);
  if (of.syntax === 'equals') return equalsSetting(content, of.key);
  return of.syntax === 'space' ? spaceSetting(content, of.key) : rsyslogSetting(content, of.key);
}

/** @returns `undefined` if it is not JSON */
function fromJson(content: string, key: string): { value: Value } | undefined {
  try {
    const value = jsonSetting(content, key);
    if (Array.isArray(value)) return { value: value.slice(0, 1_000).map(String) };
    const isPlain = ['string', 'number', 'boolean'].includes(typeof value);
    return { value: isPlain ? (value as string | number | boolean) : value === undefined ? undefined : 'an object' };
  } catch {
    return undefined;
  }
}
