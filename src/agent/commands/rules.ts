import { counted, printable, printableJson } from '../../core/base/text.ts';
import { readArguments, table, UsageError, type World } from '../../core/command-line/command.ts';
import { didYouMean } from '../../core/command-line/did-you-mean.ts';
import { unseenOf } from '../detections/detector.ts';
import { statsOf } from './input-files.ts';
import { explainRule } from './rules/explain.ts';
import { allRules, checkFiles, faultLine } from './rules/rule-files.ts';
import { OFF_REASONS } from './rules/rule-words.ts';
import { testRules } from './rules/test.ts';

export const summary = 'List, check, test and explain the rules of detections.';
export const usage = `vakt rules list [--rules FOLDER] [--json]
       vakt rules check FILE…
       vakt rules test [RULE-FILE…] --events FILE|- [--json]
       vakt rules test [RULE-FILE…] --cases FILE [--json]
       vakt rules explain ID [--rules FOLDER]

  list      the shipped rules and own ones
  check     all faults of rule files, each with its line, and rules that can never match; a folder stands for its .yml files
  test      which rules fire on which events: the shipped ones, or those of the files
  explain   what each selection of a rule looks for, what lowers its level, what else raises it, and what to do then

  --events FILE  JSON lines: messages of this agent, also with their properties as "vakt verify-chain" reads them, events, or
                 payloads; - reads standard input
  --cases FILE   a JSON file: cases of several events each, and benign events
  --rules FOLDER the folder of own rules, /etc/vakt/rules.d by default
  --json         print JSON, one object per line

Exit status: 0 success; 1 a rule cannot be used, or test had an invalid line or no event; 2 wrong usage.`;

const OPTIONS = {
  json: { type: 'boolean' },
  events: { type: 'string' },
  cases: { type: 'string' },
  rules: { type: 'string' },
} as const;

const OWN_RULES = '/etc/vakt/rules.d';

export async function run(args: readonly string[], world: World): Promise<number> {
  const { values, positionals } = readArguments(args, OPTIONS, Number.POSITIVE_INFINITY);
  const [action = '', ...files] = positionals;
  const { json = false, events, cases, rules } = values;
  const folder = rules === undefined ? OWN_RULES : givenFolder(rules);
  if (action !== 'test' && (events !== undefined || cases !== undefined))
    throw new UsageError('--events and --cases belong to "vakt rules test"');
  switch (action) {
    case 'list':
      if (files[0] !== undefined) throw new UsageError(`unexpected argument "${files[0]}"`);
      return list(folder, json, world);
    case 'check':
      return check(files, world);
    case 'test':
      return testRules({ ruleFiles: files, events, cases, json }, world);
    case 'explain':
      if (files.length !== 1) throw new UsageError('explain takes the id, name or alert type of a rule');
      return explainRule(files[0] ?? '', folder, world);
    default:
      throw new UsageError(
        action === ''
          ? 'list, check, test or explain is missing'
          : `there is no "vakt rules ${action}"${didYouMean(action, ['list', 'check', 'test', 'explain'])}`,
      );
  }
}

/** @throws {UsageError} */
function givenFolder(path: string): string {
  if (statsOf(path)?.isDirectory()) return path;
  throw new UsageError(`--rules: ${path} is not a directory`);
}

async function list(folder: string, json: boolean, { stdout, stderr }: World): Promise<number> {
  const { rules, faults } = await allRules(folder);
  for (const fault of faults) stderr(printable(faultLine(fault)));
  const status = faults.length === 0 ? 0 : 1;
  const unseen = unseenOf(rules);
  const shown = rules.filter(({ facts }) => facts.alerts);
  if (json) {
    for (const { facts } of shown) {
      const { id, title, level, alert, origin, file, requires } = facts;
      const off = unseen.has(id) ? { off: 'noEvent' } : {};
      stdout(printableJson(JSON.stringify({ id, title, level, alert, origin, file, requires, ...off })));
    }
    return status;
  }
  const rows = shown.map(({ facts: { id, level, alert = '', origin, requires, title } }) => [
    id,
    level,
    alert,
    origin,
    unseen.has(id) ? `off: ${OFF_REASONS.noEvent}` : requires.length === 0 ? 'on' : `needs ${requires.join(', ')}`,
    title,
  ]);
  for (const line of table([['ID', 'LEVEL', 'ALERT', 'ORIGIN', 'STATE', 'TITLE'], ...rows])) stdout(line);
  return status;
}

async function check(files: readonly string[], { stdout, stderr }: World): Promise<number> {
  if (files.length === 0) throw new UsageError('check takes the files to check');
  const { good, warnings, faults } = await checkFiles(files);
  for (const fault of [...faults, ...warnings]) stderr(printable(faultLine(fault)));
  const refused = new Set(faults.map(({ file }) => file)).size;
  const warned = warnings.length === 0 ? '' : ` ${counted(warnings.length, 'warning')},`;
  stdout(
    `${counted(good, 'rule is', 'rules are')} fine,${warned} ${counted(refused, 'file is', 'files are')} refused.`,
  );
  return faults.length === 0 ? 0 : 1;
}
