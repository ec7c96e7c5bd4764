import * as v from 'valibot';
import { counted, printable, printableJson } from '../../core/base/text.ts';
import { readArguments, table, type World } from '../../core/command-line/command.ts';
import { DEFAULT_CONFIG_FILE, LocalSettings, readLocalConfiguration } from '../config/local.ts';
import { type Finding, failed, note } from './check/finding.ts';
import { runChecks, systemChecks } from './check/index.ts';
import { gatherSituation, type Situation } from './check/situation.ts';

export const summary = 'Check everything that the agent needs, and print a remedy for each problem.';
export const usage = `vakt check [--config FILE] [--strict] [--verbose] [--json]

  --config FILE   local configuration; default ${DEFAULT_CONFIG_FILE}
  --strict        exit with status 1 for findings marked WARN, too
  --verbose       print the addresses and certificates that were seen, too
  --json          print one JSON object per finding, addresses and certificates included

The first finding marked WRONG is the cause of what else does not work. It ends with the id of the error that the agent
logs; the page on troubleshooting has a row for each.

WARN: the agent works, but is degraded. The last lines name the events that it does not see, or sees only in part, and why.
NOTE: the agent works with a limitation that does not make it degraded.

It changes nothing at the hub. If the agent is to create its module, that is only reported.

If an agent is running, its status is used, and it is not disturbed. Otherwise every check runs as the current user: use
the account that the agent will run as.

Exit status: 0 no problem, or only warnings; 1 something must be fixed, or with --strict there is a warning; 2 wrong usage.
"vakt status" exits with 1 if the agent is degraded, as "vakt check --strict" does.`;

const DEFAULTS = () => v.parse(LocalSettings, { identity: { kind: 'connectionString', file: '/nonexistent' } });

export async function run(args: readonly string[], { stdout, environment, signal }: World): Promise<number> {
  const { values } = readArguments(args, {
    config: { type: 'string' },
    strict: { type: 'boolean' },
    verbose: { type: 'boolean' },
    json: { type: 'boolean' },
  });
  const { findings } = await examine(values.config, environment, signal);
  if (values.json) for (const finding of findings) stdout(printableJson(JSON.stringify(finding)));
  else for (const line of describe(findings, values.verbose === true)) stdout(line);
  return exitStatus(findings, values.strict === true);
}

export const exitStatus = (findings: readonly Finding[], isStrict: boolean): 0 | 1 =>
  findings.some(({ state }) => state === 'wrong' || (isStrict && state === 'warn')) ? 1 : 0;

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
  return [...table(rows), '', ...conclusion(findings).map(printable)];
}

/** How many findings must be fixed, which events the agent does not see, and why. */
function conclusion(findings: readonly Finding[]): string[] {
  const wrong = findings.filter(({ state }) => state === 'wrong').length;
  const warnings = findings.filter(({ state }) => state === 'warn');
  const fixes = wrong === 0 ? [] : [`${wrong} of ${findings.length} findings must be fixed.`];
  if (warnings.length === 0) return wrong === 0 ? ['Nothing needs fixing.'] : fixes;
  const blind = warnings.filter(({ sees }) => sees !== undefined);
  if (blind.length === 0)
    return [
      ...fixes,
      `${wrong === 0 ? 'Works, but ' : ''}${counted(warnings.length, 'finding is', 'findings are')} marked WARN.`,
    ];
  const named = (wanted: Finding['sees']) => blind.filter(({ sees }) => sees === wanted).map(({ check }) => check);
  const parts = [...listed('does not see', named('nothing')), ...listed('sees only part of', named('part'))].join('; ');
  return [...fixes, `${wrong === 0 ? 'Works, but' : 'The agent also'} ${parts}.`, ...reasons(blind)];
}

const listed = (verb: string, names: readonly string[]) => (names.length === 0 ? [] : [`${verb}: ${names.join(', ')}`]);

/** One line per reason: the events that have it in common, and the reason. */
function reasons(blind: readonly Finding[]): string[] {
  const reasonOf = ({ remedy = 'no reason was given' }: Finding) => remedy;
  return [...new Set(blind.map(reasonOf))].map((reason) => {
    const events = blind.filter((finding) => reasonOf(finding) === reason).map(({ check }) => check);
    return `  ${events.join(', ')}: ${reason}`;
  });
}
