import * as v from 'valibot';
import { printableJson } from '../../core/base/text.ts';
import { readArguments, table, type World } from '../../core/command-line/command.ts';
import { DEFAULT_CONFIG_FILE, LocalSettings, readLocalConfiguration } from '../config/local.ts';
import { type Finding, failed, note } from './check/finding.ts';
import { runChecks, systemChecks } from './check/index.ts';
import { gatherSituation, type Situation } from './check/situation.ts';

export const summary = 'Check everything that the agent needs, and print a remedy for each problem.';
export const usage = `vakt check [--config FILE] [--verbose] [--json]

  --config FILE   local configuration; default ${DEFAULT_CONFIG_FILE}
  --verbose       print the addresses and certificates that were seen, too
  --json          print one JSON object per finding, addresses and certificates included

The first finding marked WRONG is the cause of what else does not work. It ends with the id of the error that the agent
logs; the page on troubleshooting has a row for each.

It changes nothing at the hub. If the agent is to create its module, that is only reported.

If an agent is running, its status is used, and it is not disturbed. Otherwise every check runs as the current user: use
the account that the agent will run as.

Exit status: 0 no problem; 1 something must be fixed; 2 wrong usage.`;

const DEFAULTS = () => v.parse(LocalSettings, { identity: { kind: 'connectionString', file: '/nonexistent' } });

export async function run(args: readonly string[], { stdout, environment, signal }: World): Promise<number> {
  const { values } = readArguments(args, {
    config: { type: 'string' },
    verbose: { type: 'boolean' },
    json: { type: 'boolean' },
  });
  const { findings } = await examine(values.config, environment, signal);
  if (values.json) for (const finding of findings) stdout(printableJson(JSON.stringify(finding)));
  else for (const line of describe(findings, values.verbose === true)) stdout(line);
  return findings.some(({ state }) => state === 'wrong') ? 1 : 0;
}

export interface Examined {
  readonly findings: readonly Finding[];
  /** With an invalid configuration, by the default settings. */
  readonly situation: Situation;
  /** Why the configuration cannot be used. */
  readonly invalid?: unknown;
}

/** Runs all checks. Without a valid configuration, the system is still checked, with the default settings. */
export async function examine(
  file: string | undefined,
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<Examined> {
  let local: LocalSettings;
  let warnings: readonly string[];
  try {
    ({ settings: local, warnings } = readLocalConfiguration(file, environment));
  } catch (invalid) {
    const situation = await gatherSituation(file ?? DEFAULT_CONFIG_FILE, DEFAULTS(), signal);
    const findings = [failed('configuration', invalid), ...(await runChecks(situation, systemChecks))];
    return { findings, situation, invalid };
  }
  const situation = await gatherSituation(file ?? DEFAULT_CONFIG_FILE, local, signal);
  const ignored = warnings.map((warning) => note('configuration', warning, 'Correct the name, or remove it.'));
  return { findings: [...ignored, ...(await runChecks(situation))], situation };
}

/** @param isVerbose whether the addresses and certificates that were seen are shown, too */
export function describe(findings: readonly Finding[], isVerbose: boolean): string[] {
  const rows = findings.flatMap(({ check, state, finding, remedy, details = [] }) => [
    [state.toUpperCase(), check, finding],
    ...(remedy === undefined ? [] : [['', '', `-> ${remedy}`]]),
    ...(isVerbose ? details.map((detail) => ['', '', `   ${detail}`]) : []),
  ]);
  const wrong = findings.filter(({ state }) => state === 'wrong').length;
  return [
    ...table(rows),
    '',
    wrong === 0 ? 'Nothing needs fixing.' : `${wrong} of ${findings.length} findings must be fixed.`,
  ];
}
