import { VERSION } from '../../../core/base/version.ts';
import type { CheckOutcome, CheckResult, Severity } from '../../../core/contract/baseline.ts';
import type { Evidence } from './evidence.ts';
import type { Scanned } from './scanned.ts';

/*
 * The report of a scan as SARIF 2.1.0 (OASIS, https://docs.oasis-open.org/sarif/sarif/v2.1.0/). A rule that could not be
 * evaluated is a result of the kind `open`, as the standard provides, and a notification, since readers look at failures
 * only.
 */

/** Standard, 3.27.9. */
const KINDS: Readonly<Record<CheckResult, string>> = { fail: 'fail', err: 'open', pass: 'pass', skip: 'notApplicable' };
/** Standard, 3.27.10: `none` for all kinds but `fail`. */
const LEVELS: Readonly<Record<Severity, string>> = {
  Critical: 'error',
  Important: 'error',
  Warning: 'warning',
  Informational: 'note',
};

export function sarifReport({ report, subject, evidence, options, exceptions }: Scanned): object {
  const { outcomes, ruleSet, limits, customChecksRefused: refused } = report;
  const notJudged = outcomes.filter(({ result }) => result === 'err');
  const notifications = [
    ...(refused === undefined
      ? []
      : [{ level: 'error', message: { text: `The rules of --custom were not evaluated: ${refused}` } }]),
    ...limits.map((text) => ({ level: 'warning', message: { text } })),
    ...notJudged.map(({ rule, severity, reason }) => ({
      level: LEVELS[severity],
      associatedRule: { id: rule },
      message: { text: `Not judged: ${reason ?? 'unknown'}` },
    })),
  ];
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'Vakt',
            version: VERSION,
            rules: outcomes.map(ruleOf),
            properties: { ruleSetVersion: ruleSet.version, ruleSetSha256: ruleSet.sha256 },
          },
        },
        invocations: [
          {
            executionSuccessful: refused === undefined,
            startTimeUtc: report.scannedAt.toISOString(),
            ...(notifications.length === 0 ? {} : { toolExecutionNotifications: notifications }),
          },
        ],
        ...artifactsOf(evidence),
        originalUriBaseIds: { ROOT: { description: { text: `The root of ${subject}` } } },
        results: outcomes.map(resultOf),
        properties: {
          subject,
          options,
          ...(exceptions === undefined ? {} : { exceptions }),
          ...(evidence === undefined ? {} : { evidence }),
        },
      },
    ],
  };
}

/** The image, where the standard has its digest: 3.24. */
const artifactsOf = (evidence: Evidence | undefined): object => {
  if (evidence?.image === undefined) return {};
  const { file, sizeBytes, sha256 } = evidence.image;
  const location = { uri: encodeURIComponent(file) };
  return { artifacts: [{ location, roles: ['analysisTarget'], length: sizeBytes, hashes: { 'sha-256': sha256 } }] };
};

const ruleOf = ({ rule, title, remediation, severity, category, cce, source }: CheckOutcome) => ({
  id: rule,
  shortDescription: { text: title },
  help: { text: remediation },
  defaultConfiguration: { level: LEVELS[severity] },
  properties: {
    tags: [category],
    severity,
    ...(cce === undefined ? {} : { cce }),
    ...(source === undefined ? {} : { source }),
  },
});

const resultOf = (outcome: CheckOutcome, ruleIndex: number) => ({
  ruleId: outcome.rule,
  ruleIndex,
  kind: KINDS[outcome.result],
  level: outcome.result === 'fail' ? LEVELS[outcome.severity] : 'none',
  message: { text: messageOf(outcome) },
  ...locationsOf(outcome.where),
  partialFingerprints: { 'rule/v1': outcome.rule },
});

function messageOf({ title, result, actual, expected, reason }: CheckOutcome): string {
  const found = [
    ...(actual === undefined ? [] : [`found ${actual}`]),
    ...(expected === undefined ? [] : [`expected ${expected}`]),
    ...(reason === undefined ? [] : [reason]),
  ];
  return result === 'pass' || found.length === 0 ? title : `${title}: ${found.join('; ')}`;
}

/** `/etc/ssh/sshd_config:12`; other sources than files have no location. */
function locationsOf(where: string | undefined): object {
  const [, path, line] = /^\/([^\s,;:]+)(?::(\d{1,9}))?$/.exec(where ?? '') ?? [];
  if (path === undefined) return {};
  const uri = path.split('/').map(encodeURIComponent).join('/');
  const region = line === undefined || Number(line) < 1 ? {} : { region: { startLine: Number(line) } };
  return { locations: [{ physicalLocation: { artifactLocation: { uri, uriBaseId: 'ROOT' }, ...region } }] };
}
