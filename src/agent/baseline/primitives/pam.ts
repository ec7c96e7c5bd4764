import * as v from 'valibot';
import { type Comparison, compare, comparison, instruction, inWords, type Value } from '../comparison.ts';
import type { PamLine, PamStack } from '../facts/pam.ts';
import { paths, text, texts } from '../fields.ts';
import { primitive } from '../primitive.ts';
import { pamSettings } from '../syntax/settings.ts';
import type { System } from '../system.ts';
import { cannotRead, fail, pass, passIf, skip, type Verdict } from '../verdict.ts';

const TYPES = ['auth', 'account', 'password', 'session'] as const;
const moduleName = v.pipe(text, v.regex(/^pam_[a-z0-9_]+$/, 'is not a module name such as pam_unix'));

const params = v.variant('of', [
  v.strictObject({
    of: v.literal('stack'),
    /** All existing ones are evaluated: their names differ between Debian and Fedora. */
    stacks: texts,
    type: v.optional(v.picklist(TYPES)),
    module: moduleName,
    /** Allowed controls, such as `required`. If absent, any. */
    control: v.optional(texts),
    /** One of these arguments is required; `a` also matches `a=…`. */
    argAny: v.optional(texts),
    argForbid: v.optional(texts),
    /** The rule does not apply to a module that is the first of its type. */
    unlessFirst: v.optional(v.boolean(), false),
  }),
  v.strictObject({
    of: v.literal('setting'),
    module: moduleName,
    /** The module's files; its arguments have precedence. */
    files: paths,
    /** Alternative names of the setting. */
    keys: texts,
    want: comparison,
    default: v.optional(v.union([v.number(), v.boolean()])),
  }),
]);
type Params = v.InferOutput<typeof params>;
type InStack = Extract<Params, { of: 'stack' }>;
type InFiles = Extract<Params, { of: 'setting' }>;

/** The stacks in /etc/pam.d with their includes, and the modules' own files. */
export const pam = primitive({
  name: 'pam',
  summary: 'PAM modules, their arguments and their settings in the stacks of /etc/pam.d, with includes.',
  params,

  expected(of) {
    if (of.of === 'setting') return `${of.keys.join(' or ')} of ${of.module}: ${inWords(of.want)}`;
    const args = [
      of.argAny && `with ${of.argAny.join(' or ')}`,
      of.argForbid && `without ${of.argForbid.join(' and ')}`,
      of.control && `as ${of.control.join(' or ')}`,
    ].filter((part) => part !== undefined);
    return `${of.stacks.join(' or ')}: ${of.module}${args.length > 0 ? ` ${args.join(', ')}` : ''}`;
  },

  remedy(of) {
    if (of.of === 'setting') {
      const [key = ''] = of.keys;
      // Most are words without a value, such as even_deny_root.
      const isWord = of.want.op === 'set' || of.want.op === 'flag';
      return `In ${of.files[0]}, ${isWord ? `add ${key}` : instruction(of.want, key)}.`;
    }
    if (of.argForbid !== undefined)
      return `Remove ${of.argForbid.join(', ')} from ${of.module} in /etc/pam.d/${of.stacks[0]}.`;
    const line = `${of.type ?? 'auth'} ${of.control?.[0] ?? 'required'} ${of.module}.so ${of.argAny?.[0] ?? ''}`.trim();
    return `Add a line like "${line}" to /etc/pam.d/${of.stacks[0]}; on Debian with pam-auth-update.`;
  },

  evaluate: (of, system) => (of.of === 'stack' ? evaluateStack(of, system) : evaluateSetting(of, system)),
});

async function evaluateStack(of: InStack, system: System): Promise<Verdict> {
  const pam = await system.pam();
  const stacks = of.stacks.flatMap((name): { name: string; stack: PamStack }[] => {
    const stack = pam.stack(name);
    return stack === undefined ? [] : [{ name, stack }];
  });
  if (stacks.length === 0) return skip(`there is no ${of.stacks.join(' or ')} in /etc/pam.d`);
  let unseen: Verdict | undefined;
  let right: PamLine | undefined;
  for (const { name, stack } of stacks) {
    if (stack.unreadable !== undefined) {
      unseen ??= cannotRead(stack.unreadable, `/etc/pam.d/${name}`);
      continue;
    }
    const ofType = stack.lines.filter(({ type }) => of.type === undefined || type === of.type);
    const own = ofType.filter(({ module }) => module === of.module);
    if (own.length === 0 && of.argForbid === undefined) return fail(`no ${of.module}`, `/etc/pam.d/${name}`);
    const wrong = own.find((line) => !meetsRule(of, line, ofType[0] === line));
    if (wrong !== undefined) return fail(describeLine(of, wrong), wrong.where);
    right ??= own[0];
  }
  return unseen ?? pass(right === undefined ? `no ${of.module}` : describeLine(of, right), right?.where);
}

const has = ({ args }: PamLine, wanted: string) => args.some((arg) => arg === wanted || arg.startsWith(`${wanted}=`));

function meetsRule(of: InStack, line: PamLine, isFirst: boolean): boolean {
  if (of.argForbid?.some((arg) => has(line, arg)) === true) return false;
  if (of.control !== undefined && !of.control.includes(line.control)) return false;
  return of.argAny === undefined || (of.unlessFirst && isFirst) || of.argAny.some((arg) => has(line, arg));
}

/** Reports only the arguments named in the rule: others may contain a password, as those of pam_mysql. */
function describeLine(of: InStack, line: PamLine): string {
  const named = [...(of.argAny ?? []), ...(of.argForbid ?? [])].filter((arg) => has(line, arg));
  return [line.control, line.module, ...named].join(' ');
}

/**
 * Arguments have precedence over the module's file, and the file over the module's default. Each line of the module may have
 * other arguments: all must pass.
 */
async function evaluateSetting(of: InFiles, system: System): Promise<Verdict> {
  const pam = await system.pam();
  const lines = pam.linesOf(of.module).filter(usesSettings);
  const verdicts: Verdict[] = [];
  for (const line of lines.length === 0 ? [undefined] : lines) verdicts.push(await evaluateLine(of, line, system));
  const failed = verdicts.find(({ result }) => result === 'fail');
  if (failed !== undefined) return failed;
  if (pam.unreadable !== undefined) return cannotRead(pam.unreadable, '/etc/pam.d');
  return verdicts.find(({ result }) => result !== 'pass') ?? verdicts[0] ?? skip(`nothing uses ${of.module}`);
}

/** What only ends the count of failures, as pam_faillock's lines for accounts do, depends on no setting. */
const usesSettings = ({ type, args }: PamLine) => type !== 'account' && !args.includes('authsucc');

/** @param line if absent, only the module's file is evaluated */
async function evaluateLine(of: InFiles, line: PamLine | undefined, system: System): Promise<Verdict> {
  const ownFile = line === undefined ? undefined : argumentOf(line, ['conf'])?.value;
  const files = ownFile === undefined ? of.files : [ownFile];
  const found = (line && argumentOf(line, of.keys)) ?? (await inFiles({ ...of, files }, system));
  if (found !== undefined && 'result' in found) return found;
  if (found !== undefined) return evaluateValue(of.want, found);
  const byDefault: Value = of.default;
  if (byDefault === undefined || of.want.op === 'flag') return passIf(wantsNothing(of.want), 'not set', files[0]);
  return passIf(compare(of.want, byDefault) === true, `not set, so ${byDefault}`, files[0]);
}

/** The modules' values are decimal numbers, and `never`, which is 0. */
function evaluateValue(want: Comparison, { key, value, where }: FoundSetting): Verdict {
  const isWord = want.op === 'set' || want.op === 'flag';
  const number = value === 'never' ? 0 : /^[+-]?\d{1,15}$/.test(value) ? Number(value) : undefined;
  if (isWord) return pass(`${key} ${value}`.trim(), where);
  if (number === undefined) return fail(`${key}: not a number`, where);
  return passIf(compare(want, number) === true, `${key} ${value}`, where);
}

const wantsNothing = (want: Comparison) => compare(want, undefined) === true;

interface FoundSetting {
  readonly key: string;
  readonly value: string;
  readonly where: string;
}

/** The last one counts. */
function argumentOf({ args, where }: PamLine, keys: readonly string[]): FoundSetting | undefined {
  for (const key of keys) {
    const arg = args.findLast((each) => each === key || each.startsWith(`${key}=`));
    if (arg !== undefined) return { key, value: arg.slice(key.length + 1), where };
  }
  return undefined;
}

/** The last one counts, as in pwquality.conf(5), whose drop-ins are read before the main file. */
async function inFiles({ module, files, keys }: InFiles, system: System): Promise<FoundSetting | Verdict | undefined> {
  let found: FoundSetting | undefined;
  for (const glob of files.toReversed()) {
    const { paths, unreadable } = system.files.expand(glob);
    if (unreadable !== undefined) return cannotRead(unreadable, glob);
    for (const path of paths) {
      const look = system.files.text(path);
      await system.pace();
      if ('unreadable' in look) return cannotRead(look, path);
      if (!('found' in look)) continue;
      for (const key of keys) {
        const settings = pamSettings(look.found, key);
        const setting = settings.at(module === 'pam_pwhistory' ? 0 : -1); // see pam_modutil_search_key() of Linux-PAM
        if (setting !== undefined) found = { key, value: setting.value, where: `${path}:${setting.line}` };
      }
    }
  }
  return found;
}
