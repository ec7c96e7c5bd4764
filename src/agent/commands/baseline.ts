import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { systemClock } from '../../core/base/clock.ts';
import { hours } from '../../core/base/duration.ts';
import { errnoOf } from '../../core/base/errors.ts';
import { exists } from '../../core/base/paths.ts';
import { printable, printableJson } from '../../core/base/text.ts';
import { readArguments, severityOption, UsageError, type World } from '../../core/command-line/command.ts';
import { didYouMean } from '../../core/command-line/did-you-mean.ts';
import { type BaselineReport, type ScanOptions, SEVERITIES } from '../../core/contract/baseline.ts';
import { defaultRules } from '../baseline/rule-set.ts';
import { Firewall } from '../linux/firewall/firewall.ts';
import { gatherEvidence } from './baseline/evidence.ts';
import { readExceptions, withReasons } from './baseline/exceptions.ts';
import { imageOption } from './baseline/image.ts';
import { junitReport } from './baseline/junit.ts';
import { baselinePage } from './baseline/page.ts';
import { sarifReport } from './baseline/sarif.ts';
import { isAtLeast, problems, type Scanned } from './baseline/scanned.ts';
import { describeRule, describeScan } from './baseline/text.ts';
import { statsOf } from './input-files.ts';
import { isDevice, refuseUnwritable, resultFile, writeResult } from './result-file.ts';
import { ownScanner } from './snapshot-sources.ts';

export const summary = 'Check this system, or a root file system, against the hardening rules.';
export const usage = `vakt baseline [OPTION]… [RULE…]

Reads files only: changes nothing, runs no program of the system that it checks, and sends nothing.

  RULE                evaluate only these rules, at any level
  --root DIR          root of the system to check, for example of an image that is being built; default /
  --level 2           include opt-in rules
  --walk              include rules that walk all local file systems
  --role ROLE         role of the device: rules that do not apply to it are skipped; repeatable, or a list with ","
  --except NAME       category or rule to leave out; repeatable, or a list with ","
  --exceptions FILE   rules and categories to leave out until a day, with the reason: a JSON list of objects such as
                      {"name": "ssh.x", "reason": "…", "expires": "2027-06-30"}; the report shows them
  --custom FILE       include your own rules; the file must belong to root, and only root may write it
  --fail-on SEVERITY  ${SEVERITIES.join(', ')} or never; default Important
  --all               show passed and skipped rules, too
  --json              print the whole report as one JSON object
  --html FILE         write the report as an HTML page
  --junit FILE        write it as JUnit XML, for Jenkins and GitLab
  --sarif FILE        write it as SARIF 2.1.0, for code scanning
  --digest            add the SHA-256 of all files of --root to the report: which tree it is about
  --image FILE        add the SHA-256 of the image that --root is mounted or unpacked from: a file, or a disk
  --explain RULE      evaluate nothing; describe the check of a rule, and when it is skipped

Exit status: 0 success; 1 a rule of severity --fail-on or above failed or could not be evaluated, or the rules of --custom
were refused; 2 wrong usage.`;

/** Enough for walks on a slow disk. */
const LONGEST_SCAN = hours(1);
/** So that a wrong file isn't hashed for long; the engine has a lower limit, with an error of its own. */
const MAX_CUSTOM_BYTES = 16 * 1024 * 1024;

const OPTIONS = {
  root: { type: 'string' },
  level: { type: 'string' },
  walk: { type: 'boolean' },
  role: { type: 'string', multiple: true },
  except: { type: 'string', multiple: true },
  exceptions: { type: 'string' },
  custom: { type: 'string' },
  'fail-on': { type: 'string' },
  all: { type: 'boolean' },
  json: { type: 'boolean' },
  html: { type: 'string' },
  junit: { type: 'string' },
  sarif: { type: 'string' },
  digest: { type: 'boolean' },
  image: { type: 'string' },
  explain: { type: 'string' },
} as const;

export async function run(args: readonly string[], world: World): Promise<number> {
  const { values, positionals } = readArguments(args, OPTIONS, Number.POSITIVE_INFINITY);
  if (values.explain !== undefined) return explain(values.explain, world);
  const failOn = severityOption(values['fail-on'] ?? 'Important', SEVERITIES);
  const root = rootOption(values.root);
  if (values.digest && root === '/')
    throw new UsageError('--digest needs --root: a running system changes while it is read');
  const image = values.image === undefined ? undefined : imageOption(values.image, root);
  const exceptions = values.exceptions === undefined ? [] : readExceptions(values.exceptions, systemClock.now());
  const inForce = exceptions.filter(({ isExpired }) => !isExpired).map(({ name }) => name);
  const options = scanOptions({ ...values, except: [...(values.except ?? []), ...inForce] }, positionals);
  const files = reportFiles(values);
  for (const { file } of files) refuseUnwritable(file);
  const report = withReasons(await scan(root, options, world.signal), exceptions);
  const evidence = await gatherEvidence({ root, withDigest: values.digest === true, image }, world.signal);
  const scanned: Scanned = {
    subject: root === '/' ? hostname() : root,
    options,
    report,
    evidence,
    ...(exceptions.length === 0 ? {} : { exceptions }),
  };
  for (const { file, textOf } of files) writeResult(file, textOf(scanned), 0o666 & ~process.umask());
  if (values.json) world.stdout(printableJson(JSON.stringify({ ...report, ...scanned, report: undefined })));
  else for (const line of describeScan(scanned, { ...width(world), all: values.all === true })) world.stdout(line);
  if (report.customChecksRefused !== undefined) {
    world.stderr(printable(`The rules of --custom were not evaluated: ${report.customChecksRefused}.`));
    return 1;
  }
  return failOn !== undefined && problems(report).some(({ severity }) => isAtLeast(severity, failOn)) ? 1 : 0;
}

const width = ({ columns }: World) => (columns === undefined ? {} : { columns });

/** Scans as this command does. @param hostRoot `/`, or the root of a tree */
export async function scan(hostRoot: string, options: ScanOptions, signal: AbortSignal): Promise<BaselineReport> {
  const report = await ownScanner(hostRoot, new Firewall(), LONGEST_SCAN).scan(options, signal);
  const [unknown] = report.unknown;
  // If a custom file was rejected, its rules are unknown, which is not a usage error.
  if (unknown !== undefined && report.customChecksRefused === undefined)
    throw new UsageError(notAName(unknown, kindsOf(unknown, options)));
  return report;
}

type Kind = 'rule' | 'category' | 'role';

/** The kinds of names among which `name` was looked for. */
function kindsOf(name: string, { only = [], roles }: ScanOptions): readonly Kind[] {
  if (roles.includes(name)) return ['role'];
  return only.includes(name) ? ['rule'] : ['rule', 'category'];
}

function notAName(name: string, kinds: readonly Kind[]): string {
  const { checks, categories, roles } = defaultRules();
  const all: Readonly<Record<Kind, readonly string[]>> = {
    rule: checks.map(({ rule }) => rule.id),
    category: Object.keys(categories),
    role: Object.keys(roles),
  };
  const other = (Object.keys(all) as Kind[]).find((kind) => all[kind].includes(name));
  const hint =
    other === undefined
      ? didYouMean(
          name,
          kinds.flatMap((kind) => all[kind]),
        )
      : `; it is the name of a ${other}`;
  return `no ${kinds.join(' or ')} is called "${name}"${hint}`;
}

function explain(id: string, world: World): number {
  const rule = defaultRules().explain(id);
  if (rule === undefined) throw new UsageError(notAName(id, ['rule']));
  for (const line of describeRule(rule, world.columns)) world.stdout(line);
  return 0;
}

/** Reads `--root`. @throws {UsageError} if there is no such folder */
export function rootOption(path = '/'): string {
  const root = resolve(path);
  if (!statsOf(root)?.isDirectory()) throw new UsageError(`--root: ${root} is not a directory`);
  if (PARTS_OF_A_ROOT.some((name) => exists(join(root, name)))) return root;
  const parts = PARTS_OF_A_ROOT.join(', ');
  throw new UsageError(
    `--root: ${root} is not a root file system: it has none of ${parts}; name the folder at which the file system is unpacked or mounted`,
  );
}

/** An image without any of them would pass as one without faults. */
const PARTS_OF_A_ROOT = ['etc', 'usr', 'bin', 'lib', 'sbin'];

function scanOptions(
  values: {
    level?: string | undefined;
    walk?: boolean | undefined;
    role?: string[] | undefined;
    except?: string[] | undefined;
    custom?: string | undefined;
  },
  only: readonly string[],
): ScanOptions {
  const { level = '1', walk = false, role = [], except = [], custom } = values;
  if (level !== '1' && level !== '2') throw new UsageError(`--level takes 1 or 2, not "${level}"`);
  const exceptions = listed(except);
  const { categories } = defaultRules();
  return {
    level: level === '1' ? 1 : 2,
    walk,
    roles: listed(role),
    groupsDisabled: exceptions.filter((name) => Object.hasOwn(categories, name)),
    checksDisabled: exceptions.filter((name) => !Object.hasOwn(categories, name)),
    ...(custom === undefined ? {} : { customChecks: customChecks(custom) }),
    ...(only.length === 0 ? {} : { only }),
  };
}

/** Options can be repeated, and each value can be a list, as in the module twin. */
const listed = (given: readonly string[]) =>
  given
    .flatMap((list) => list.split(','))
    .map((name) => name.trim())
    .filter((name) => name !== '');

/** The digest is computed instead of compared: the user of the command has chosen the file. */
function customChecks(file: string): NonNullable<ScanOptions['customChecks']> {
  const path = resolve(file);
  try {
    const stats = statSync(path);
    if (!stats.isFile() || stats.size > MAX_CUSTOM_BYTES)
      throw new UsageError(`--custom: ${path} is not a file of rules`);
    return { path, sha256: createHash('sha256').update(readFileSync(path)).digest('hex') };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`--custom: ${path} cannot be read: ${errnoOf(error) ?? 'unknown'}`);
  }
}

interface ReportFile {
  readonly file: string;
  readonly textOf: (scanned: Scanned) => string;
}

/** The files to write. @throws {UsageError} if one is neither a regular file nor a device, such as /dev/stdout */
function reportFiles({
  html,
  junit,
  sarif,
}: {
  html?: string | undefined;
  junit?: string | undefined;
  sarif?: string | undefined;
}): readonly ReportFile[] {
  const all: readonly (readonly [given: string | undefined, textOf: ReportFile['textOf']])[] = [
    [html, (scanned) => baselinePage(scanned, defaultRules().categories)],
    [junit, junitReport],
    [sarif, (scanned) => `${JSON.stringify(sarifReport(scanned), null, 2)}\n`],
  ];
  return all.flatMap(([given, textOf]) =>
    given === undefined ? [] : [{ file: isDevice(given) ? given : resultFile(given), textOf }],
  );
}
