import { counted, printable, printableJson } from '../../core/base/text.ts';
import { readArguments, UsageError, type World } from '../../core/command-line/command.ts';
import type { ScanOptions } from '../../core/contract/baseline.ts';
import { defaultRules } from '../baseline/rule-set.ts';
import { DEFAULT_CONFIG_FILE } from '../config/local.ts';
import { countOf } from './baseline/scanned.ts';
import { rootOption } from './baseline.ts';
import { settingsOrDefaults } from './local-settings.ts';
import { gather } from './report/gather.ts';
import { reportPage } from './report/page.ts';
import { isProblem, type Report } from './report/report.ts';
import { callersName, refuseUnwritable, resultFile, writeResult } from './result-file.ts';

export const summary = 'Write one report for people: hardening, exposure, accounts, software, alerts, the agent.';
export const usage = `vakt report --html FILE | --json [OPTION]…

Reads this system, or the files of a root tree, and asks the running agent for its alerts and its status. Changes nothing,
and sends nothing. Run it as root, so that it can read all; what could not be read is listed first, with the reason.

  --html FILE     write one page, which needs no other file and no network, and prints well; only you can read it
  --json          print the report as one JSON object
  --root DIR      report a root tree, for example of an image that is being built: only its files are read
  --hardware      also ask for firmware, memory modules, disks with their health and temperatures, battery, graphics,
                  network interfaces and services; this runs programs of this system, also by a shell
  --config FILE   the running agent's configuration; default ${DEFAULT_CONFIG_FILE}

Exit status: 0 the report was made, whatever it says; 1 FILE could not be written; 2 wrong usage.`;

const OPTIONS = {
  html: { type: 'string' },
  json: { type: 'boolean' },
  root: { type: 'string' },
  hardware: { type: 'boolean' },
  config: { type: 'string' },
} as const;

const SCAN: ScanOptions = { level: 1, walk: false, roles: [], groupsDisabled: [], checksDisabled: [] };

export async function run(args: readonly string[], world: World): Promise<number> {
  const { values } = readArguments(args, OPTIONS);
  const { html, json = false, hardware = false } = values;
  if (html === undefined && !json) throw new UsageError('give --html FILE or --json');
  if (hardware && values.root !== undefined)
    throw new UsageError('--hardware cannot be combined with --root, which only reads files');
  const file = html === undefined ? undefined : resultFile(html);
  const { hostRoot, controlSocket } = settingsOrDefaults(values.config, world.environment);
  const tree = values.root === undefined ? undefined : rootOption(values.root);
  if (file !== undefined) refuseUnwritable(file);
  const report = await gather({
    root: tree ?? hostRoot,
    of: tree === undefined ? 'system' : 'tree',
    by: callersName(),
    controlSocket,
    options: SCAN,
    withHardware: hardware,
    signal: world.signal,
  });
  if (json) world.stdout(printableJson(JSON.stringify(report)));
  return file === undefined ? 0 : write(file, report, { ...world, isQuiet: json });
}

function write(file: string, report: Report, { stdout, isQuiet }: World & { isQuiet: boolean }): number {
  writeResult(file, reportPage(report, { options: SCAN, categories: defaultRules().categories }));
  if (!isQuiet) {
    stdout(printable(`Written: ${file}; ${hardeningOf(report)}.`));
  }
  return 0;
}

function hardeningOf({ baseline }: Report): string {
  if (isProblem(baseline)) return 'hardening was not evaluated';
  const [failed, notJudged] = [countOf(baseline.outcomes, 'fail'), countOf(baseline.outcomes, 'err')];
  const open = notJudged === 0 ? '' : `, ${notJudged} could not be evaluated`;
  return `${counted(failed, 'hardening rule fails', 'hardening rules fail')}${open}`;
}
