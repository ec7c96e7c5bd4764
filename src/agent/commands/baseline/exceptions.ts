import { resolve } from 'node:path';
import * as v from 'valibot';
import { errnoOf } from '../../../core/base/errors.ts';
import { repeatedNames } from '../../../core/base/json-names.ts';
import { NotPlainError, readNamedFile } from '../../../core/base/plain-file.ts';
import { UsageError } from '../../../core/command-line/command.ts';
import type { BaselineReport } from '../../../core/contract/baseline.ts';

/* A file of exceptions from rules: readers of a report must see why a rule was omitted, and when it will be evaluated again. */

const MAX_FILE_BYTES = 256 * 1024;
const MAX_EXCEPTIONS = 500;

const DATE = 'must be a date such as 2027-06-30';

const Exception = v.strictObject({
  /** A rule, or a category. */
  name: v.pipe(v.string('must be a rule or a category'), v.minLength(1, 'must be a rule or a category')),
  reason: v.pipe(
    v.string('must say why'),
    v.trim(),
    v.minLength(1, 'must say why'),
    v.maxLength(500, 'must have at most 500 characters'),
  ),
  /** The last day on which it holds, in UTC. */
  expires: v.pipe(
    v.string(DATE),
    v.isoDate(DATE),
    v.check((text) => isDay(text), DATE),
  ),
});
const Exceptions = v.pipe(
  v.array(Exception, 'must be a list'),
  v.maxLength(MAX_EXCEPTIONS, `must have at most ${MAX_EXCEPTIONS} exceptions`),
);

export interface Exception extends v.InferOutput<typeof Exception> {
  /** Whether it has expired: the rule is evaluated again. */
  readonly isExpired: boolean;
}

/** Rejects dates such as the 31st of June. */
const isDay = (text: string): boolean => {
  const time = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(text);
};

/** Reads `--exceptions`. @throws {UsageError} if the file cannot be read, or has a fault */
export function readExceptions(file: string, now: Date): readonly Exception[] {
  const path = resolve(file);
  const wrong = (problem: string) => new UsageError(`--exceptions: ${path} ${problem}`);
  let text: string;
  let value: unknown;
  try {
    text = readNamedFile(path, MAX_FILE_BYTES);
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) throw wrong('is not JSON');
    throw wrong(`cannot be read: ${error instanceof NotPlainError ? error.message : (errnoOf(error) ?? 'unknown')}`);
  }
  const [repeated] = repeatedNames(text);
  if (repeated !== undefined) throw wrong(`has ${repeated.path.join('.')} twice in one object`);
  const result = v.safeParse(Exceptions, value);
  if (result.success) {
    const today = now.toISOString().slice(0, 10);
    return result.output.map((exception) => ({ ...exception, isExpired: exception.expires < today }));
  }
  const faults = result.issues.map((issue) => `${v.getDotPath(issue) ?? 'the whole'} ${faultOf(issue)}`);
  throw wrong(`is not a list of exceptions: ${faults.slice(0, 10).join('; ')}`);
}

const faultOf = ({ expected, message }: v.BaseIssue<unknown>): string =>
  expected === 'never' ? 'is not known' : message.startsWith('Invalid') ? 'is missing or not of that kind' : message;

/** The report with the reason and the end of each exception at the rules that it leaves out. */
export const withReasons = (report: BaselineReport, exceptions: readonly Exception[]): BaselineReport => ({
  ...report,
  outcomes: report.outcomes.map((outcome) => {
    const exception = exceptions.find(
      ({ name, isExpired }) => !isExpired && (name === outcome.rule || name === outcome.category),
    );
    return exception === undefined || outcome.result !== 'skip'
      ? outcome
      : { ...outcome, reason: `exception until ${exception.expires}: ${exception.reason}` };
  }),
  limits: [
    ...report.limits,
    ...exceptions
      .filter(({ isExpired }) => isExpired)
      .map(({ name, expires }) => `The exception for ${name} expired on ${expires}: it is evaluated again.`),
  ],
});
