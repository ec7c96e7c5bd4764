import assert from 'node:assert/strict';
import { systemClock } from '../../../src/core/base/clock.ts';
import { minutes } from '../../../src/core/base/duration.ts';
import { type Fault, runScenario, type Scenario, type Step, Verdict } from './runner.ts';

describe('the runner of scenarios', () => {
  let steps: string[];
  let lines: string[];
  let verdict: Verdict;

  beforeEach(() => {
    steps = [];
    lines = [];
    verdict = new Verdict('test, seed 1', (line) => lines.push(line));
  });

  const note = (step: string) => () => void steps.push(step);
  const fault = (name = 'fault'): Fault => ({ name, begin: note(`${name} begins`), end: note(`${name} ends`) });
  const scenario = (schedule: Iterable<Step>, changes: Partial<Scenario> = {}): Scenario => ({
    directory: '/folder',
    begin: async () => note('begin')(),
    async load(signal) {
      note('load')();
      await systemClock.sleep(minutes(1), signal);
      note('load ends')();
    },
    steps: () => schedule,
    settle: async () => note('settle')(),
    close: async ({ keep }) => note(keep ? 'keep' : 'remove')(),
    ...changes,
  });

  it('the runner checks each fault after its load has ended, and settles after the last', async () => {
    const step = { recover: async () => note('recover')(), check: async () => note('check')() };
    await runScenario(scenario([{ fault: fault(), ...step }, { fault: fault('second') }]), verdict);
    assert.deepEqual(steps.join(', ').split(', load, '), [
      'begin',
      'fault begins, fault ends, recover, load ends, check',
      'second begins, second ends, load ends, settle, remove',
    ]);
    assert.equal(verdict.isPassed, true);
  });

  it('the runner records an error as a violation, ends the load, and keeps the files', async () => {
    const end = () => Promise.reject(new Error('no end'));
    await runScenario(scenario([{ fault: { ...fault(), end } }, { fault: fault() }]), verdict);
    assert.deepEqual(steps, ['begin', 'load', 'fault begins', 'load ends', 'keep']);
    assert.match(lines.join('\n'), /^VIOLATION in test, seed 1: Error: no end\n.*\ntest, seed 1: .* \/folder$/s);
  });

  it('the runner ends a step and its load when the scenario fails during it', async () => {
    const failed = systemClock.sleep(minutes(0)).then(() => Promise.reject(new Error('exited')));
    await runScenario(scenario([{ fault: fault(), lasts: minutes(1), check: assert.fail }], { failed }), verdict);
    assert.deepEqual(steps, ['begin', 'load', 'fault begins', 'load ends', 'fault ends', 'keep']);
    assert.match(String(verdict.violations), /exited/);
  });

  it('the runner ends a fault that has begun when the run is aborted, and begins no other', async () => {
    const stop = new AbortController();
    const begin = () => stop.abort();
    await runScenario(scenario([{ fault: { ...fault(), begin } }, { fault: fault() }]), verdict, stop.signal);
    assert.deepEqual(steps, ['begin', 'load', 'load ends', 'fault ends', 'settle', 'remove']);
  });

  it('the runner records an error of closing as a violation', async () => {
    const close = () => Promise.reject(new Error('a secret is in an output'));
    await runScenario(scenario([], { close }), verdict);
    assert.deepEqual(verdict.violations, ['a secret is in an output']);
  });

  it('a verdict records only some violations that differ in numbers alone', () => {
    verdict.add(Array.from({ length: 100 }, (_, number) => `${number} came twice`));
    verdict.add(['another']);
    assert.ok(verdict.violations.length < 10);
    assert.equal(verdict.violations.at(-1), 'another');
    assert.equal(lines.length, verdict.violations.length);
  });
});
