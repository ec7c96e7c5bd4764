import assert from 'node:assert/strict';
import { Detector, type Lists, type TimeSource } from '../../../src/agent/detections/detector.ts';
import type { Fault, ParsedRule } from '../../../src/agent/detections/sigma/rule.ts';
import { readRuleSet } from '../../../src/agent/detections/sigma/rule-set.ts';
import { readYaml } from '../../../src/agent/detections/sigma/yaml.ts';
import type { Fields, LogSource, Subject } from '../../../src/agent/detections/subject.ts';
import type { Duration } from '../../../src/core/base/duration.ts';

/** Rules and errors of strings, each a file: `1.yml`, `2.yml` … */
export function read(...texts: readonly string[]): { rules: readonly ParsedRule[]; faults: readonly Fault[] } {
  const files = texts.map((text, index) => readYaml(text, `${index + 1}.yml`, 'local'));
  const faults = files.flatMap((file) => file.faults);
  const set = readRuleSet(files.flatMap(({ documents }) => documents));
  return { rules: set.rules, faults: [...faults, ...set.faults] };
}

/** Rules of strings without errors. */
export function rulesOf(...texts: readonly string[]): readonly ParsedRule[] {
  const { rules, faults } = read(...texts);
  assert.deepEqual(faults, []);
  return rules;
}

/** The first error of a string: `line: reason`. */
export function faultOf(text: string): string {
  const [fault] = read(text).faults;
  return fault === undefined ? 'no fault' : `${fault.line ?? '?'}: ${fault.reason}`;
}

/** A rule on the source `agent`, which has any fields; its `detection` is given. */
export const ruleWith = (detection: string, more = ''): string => `title: T
${more}logsource: { service: vakt, category: agent }
detection:
${detection
  .split('\n')
  .map((line) => `  ${line}`)
  .join('\n')}
`;

export const subject = (fields: Fields, { source = 'agent', time = 0, id = '' }: SubjectOptions = {}): Subject => ({
  source,
  time,
  fields,
  views: [],
  event: { name: 'Test', ids: id === '' ? [] : [id], payload: fields },
});
interface SubjectOptions {
  readonly source?: LogSource;
  readonly time?: number;
  readonly id?: string;
}

/** Shows the time that it is set to, for both clocks. */
export class SetClock implements TimeSource {
  at = 0;
  /** How far the wall clock is ahead. */
  step = 0;
  now(): Date {
    return new Date(this.at + this.step);
  }
  monotonic(): Duration {
    return this.at as Duration;
  }
}

/** Whether a rule with this detection matches the fields. */
export function matches(detection: string, fields: Fields, lists: Lists = {}): boolean {
  const detector = new Detector({ rules: rulesOf(ruleWith(detection)), lists, clock: new SetClock() });
  return detector.evaluate(subject(fields)).length > 0;
}
