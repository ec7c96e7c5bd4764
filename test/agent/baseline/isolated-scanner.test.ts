import assert from 'node:assert/strict';
import sinon from 'sinon';
import { BaselineEngine } from '../../../src/agent/baseline/engine.ts';
import { IsolatedScanner } from '../../../src/agent/baseline/isolated-scanner.ts';
import type { ScanQuestion } from '../../../src/agent/baseline/scan-question.ts';
import type { Answer } from '../../../src/agent/reader/question.ts';
import { Reader } from '../../../src/agent/reader/reader.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours, seconds } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import type { ScanOptions } from '../../../src/core/contract/baseline.ts';
import { sources } from '../collectors/samples.ts';
import { quietLog } from '../pipeline/memory-queues.ts';
import { type Entries, RUNNING, withTree } from './tree.ts';

const OPTIONS: ScanOptions = { level: 1, walk: false, groupsDisabled: [], checksDisabled: [], roles: [] };
const { signal } = new AbortController();
const report = await sources.baseline.scan(signal);
const answered: Answer<unknown> = { state: 'answered', value: JSON.parse(JSON.stringify(report)) };
/** Its time is one of sinon's. */
const plain = (of: object) => JSON.stringify(of);
const hung = (at?: string): Answer<unknown> => ({ state: 'hung', ownerSkipped: false, ...(at && { at }) });

describe('IsolatedScanner', () => {
  let asked: ScanQuestion[];
  let given: (AbortSignal | undefined)[];
  let answers: (Answer<unknown> | 'never')[];
  let logged: LogLine[];
  let scanner: IsolatedScanner;
  let time: sinon.SinonFakeTimers;

  beforeEach(() => {
    time = sinon.useFakeTimers({ now: new Date('2026-05-01T12:00:00Z') });
    asked = [];
    given = [];
    answers = [];
    logged = [];
    scanner = new IsolatedScanner({
      reader: {
        ask: (async (_kind: unknown, [question]: ScanQuestion[], aborts?: AbortSignal) => {
          asked.push(question as ScanQuestion);
          given.push(aborts);
          const answer = answers.shift() ?? answered;
          if (answer !== 'never') return [answer];
          return new Promise((resolve) =>
            aborts?.addEventListener('abort', () => resolve([{ state: 'unavailable', message: 'given up' }])),
          );
        }) as never,
      },
      hostRoot: '/',
      firewall: sources.firewall,
      clock: systemClock,
      log: quietLog(logged),
    });
  });
  afterEach(() => time.restore());

  it('sends options and packet filter to the child, and returns its report', async () => {
    assert.equal(plain(await scanner.scan(OPTIONS, signal)), plain(report));
    const [{ options, hostRoot, firewall, hung: none } = {} as ScanQuestion] = asked;
    assert.deepEqual([options, hostRoot, none], [OPTIONS, '/', {}]);
    assert.ok(firewall !== undefined && 'rules' in firewall && firewall.rules.length === 2);
  });

  it('hands on why the packet filter can not be read', async () => {
    const firewall = { rules: () => Promise.reject(new AgentError('SOURCE_UNREADABLE', 'no nft', 'Install it.')) };
    const reader = {
      ask: async (_: unknown, questions: ScanQuestion[]) => {
        asked.push(...questions);
        return [answered];
      },
    };
    const parts = { reader: reader as never, hostRoot: '/', clock: systemClock, log: quietLog() };
    await new IsolatedScanner({ ...parts, firewall }).scan(OPTIONS, signal);
    assert.deepEqual(asked[0]?.firewall, { problem: 'no nft', remedy: 'Install it.' });
  });

  it('scans again without what hung, and leaves that out for a day', async () => {
    answers = [hung('homes /home/ann')];
    assert.equal(plain(await scanner.scan(OPTIONS, signal)), plain(report));
    assert.deepEqual(
      asked.map((question) => question.hung),
      [{}, { homes: '/home/ann' }],
    );
    assert.deepEqual(
      logged.map(({ level }) => level),
      ['warn'],
    );
    await time.tickAsync(hours(23));
    await scanner.scan(OPTIONS, signal);
    await time.tickAsync(hours(2));
    await scanner.scan(OPTIONS, signal);
    assert.deepEqual(
      asked.slice(2).map((question) => question.hung),
      [{ homes: '/home/ann' }, {}],
    );
  });

  for (const [what, given] of Object.entries({
    'hangs before its first rule': [hung('start /')],
    'hangs, and did not say where': [hung()],
    'hangs again in what was to be left out': [hung('homes /home/ann'), hung('homes /home/bob')],
    'hangs again and again': ['a', 'b', 'c', 'd', 'e'].map((stage) => hung(`${stage} /x`)),
    'has no child': [{ state: 'unavailable', message: 'too many readers can’t be killed' }],
    'fails in the child': [{ state: 'failed', message: 'defect' }],
    'answers with what is no report': [{ state: 'answered', value: { ...report, outcomes: [{ rule: 7 }] } }],
  } as Record<string, Answer<unknown>[]>)) {
    it(`rejects, with the reason, when a scan ${what}`, async () => {
      answers = given;
      await assert.rejects(scanner.scan(OPTIONS, signal), {
        id: 'SOURCE_UNREADABLE',
        message: /can't be evaluated: ./,
      });
    });
  }

  it('gives up after its time, before the snapshot does, and has the child killed', async () => {
    answers = ['never'];
    const scan = assert.rejects(scanner.scan(OPTIONS, signal), {
      id: 'SOURCE_UNREADABLE',
      message: /longer than 100 s/,
    });
    await time.tickAsync(seconds(100));
    await scan;
    assert.equal(given[0]?.aborted, true);
  });

  it('ends with the signal’s reason, and has the child killed', async () => {
    answers = ['never'];
    const stop = new AbortController();
    const scan = assert.rejects(scanner.scan(OPTIONS, stop.signal), /stopping/);
    await time.tickAsync(1);
    stop.abort(new Error('stopping'));
    await scan;
    assert.equal(given[0]?.aborted, true);
  });
});

describe('IsolatedScanner, with a real child', () => {
  const TREE: Entries = {
    ...RUNNING,
    'etc/passwd': 'root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n',
    'etc/group': 'root:x:0:\n',
    'home/ann/.ssh': { folder: true },
  };

  it('returns the same report as a scan in this process', () =>
    withTree(TREE, async ({ root }) => {
      const reader = new Reader({ clock: systemClock, log: quietLog() });
      try {
        const parts = { hostRoot: root, clock: systemClock };
        const isolated = await new IsolatedScanner({ ...parts, reader, log: quietLog() }).scan(OPTIONS, signal);
        const own = await new BaselineEngine(parts).scan(OPTIONS, signal);
        assert.deepEqual(isolated.outcomes, own.outcomes);
        assert.deepEqual(isolated.ruleSet, own.ruleSet);
        assert.deepEqual(isolated.limits, own.limits);
      } finally {
        reader.close();
      }
    }));
});
