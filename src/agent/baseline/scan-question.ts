import * as v from 'valibot';
import { systemClock } from '../../core/base/clock.ts';
import { seconds } from '../../core/base/duration.ts';
import { AgentError } from '../../core/base/errors.ts';
import { type BaselineReport, type ScanOptions, SEVERITIES } from '../../core/contract/baseline.ts';
import type { FirewallRule } from '../../core/contract/sources.ts';
import type { Answerer, QuestionKind } from '../reader/question.ts';
import { BaselineEngine, type EngineParts } from './engine.ts';

/* A whole scan as a question to the reader: a scan reads users' file systems, which can block forever. */

/** The packet filter's rules. The agent starts the tools that read them, so that it recognises its own processes. */
export type FirewallFacts =
  | { readonly rules: readonly FirewallRule[] }
  | { readonly problem: string; readonly remedy: string };

export interface ScanQuestion {
  readonly hostRoot: string;
  readonly options: ScanOptions;
  /** If absent, rules about the packet filter are skipped. */
  readonly firewall?: FirewallFacts;
  /** Paths at which an earlier scan hung, keyed by stage (see `stageOf`). */
  readonly hung: Readonly<Record<string, string>>;
}

const text = v.pipe(v.string(), v.maxLength(16_384));
const count = v.pipe(v.number(), v.minValue(0));
const outcome = v.strictObject({
  rule: text,
  cce: v.exactOptional(text),
  category: text,
  severity: v.picklist(SEVERITIES),
  title: text,
  result: v.picklist(['pass', 'fail', 'skip', 'err']),
  actual: v.exactOptional(text),
  expected: v.exactOptional(text),
  where: v.exactOptional(text),
  reason: v.exactOptional(text),
  remediation: text,
  source: v.exactOptional(text),
});
/** The child reads hostile files, so its answer is validated as untrusted input. */
const report = v.strictObject({
  ruleSet: v.strictObject({ version: text, sha256: text }),
  scannedAt: v.pipe(
    text,
    v.transform((time) => new Date(time)),
    v.date(),
  ),
  durationMs: count,
  outcomes: v.pipe(v.array(outcome), v.maxLength(5_000)),
  unknown: v.pipe(v.array(text), v.maxLength(10_000)),
  customChecksRefused: v.exactOptional(text),
  limits: v.pipe(v.array(text), v.maxLength(100)),
});

/** @throws if the answer is not a report */
export const parseReport = (answer: unknown): BaselineReport => v.parse(report, answer);

export const BASELINE_SCAN: QuestionKind<ScanQuestion, unknown> = {
  name: 'baselineScan',
  // Time limit of one step: a rule, a home or a folder of a walk.
  limit: seconds(10),
  maxBytes: 4 * 1024 * 1024,
};

/** Runs a scan in the child. Only the child loads this file: the agent needs neither the engine nor the rules. */
export const scanAnswerer =
  (parts: Pick<EngineParts, 'fileCapabilities'>): Answerer<ScanQuestion, unknown> =>
  ({ hostRoot, options, firewall, hung }, { at }) =>
    new BaselineEngine({
      ...parts,
      hostRoot,
      clock: systemClock,
      ...(firewall === undefined ? {} : { firewall: { rules: async () => rulesOf(firewall) } }),
      hung,
      at,
    }).scan(options, new AbortController().signal);

function rulesOf(facts: FirewallFacts): readonly FirewallRule[] {
  if ('rules' in facts) return facts.rules;
  throw new AgentError('SOURCE_UNREADABLE', facts.problem, facts.remedy);
}
