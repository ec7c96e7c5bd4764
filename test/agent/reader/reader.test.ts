import assert from 'node:assert/strict';
import { ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import sinon from 'sinon';
import { isOwnProcess } from '../../../src/agent/host/own-processes.ts';
import type { QuestionKind } from '../../../src/agent/reader/question.ts';
import { Reader } from '../../../src/agent/reader/reader.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../../src/core/base/duration.ts';
import { createLog, type LogLine } from '../../../src/core/base/log.ts';
import { until } from '../../harness/until.ts';

const PROGRAM = fileURLToPath(new URL('./answers.js', import.meta.url));

const kind = <Q, A>(name: string, more: Partial<QuestionKind<Q, A>> = {}): QuestionKind<Q, A> => ({
  name,
  limit: seconds(10),
  maxBytes: 100_000,
  ...more,
});
const ECHO = kind<unknown, unknown>('echo');
const PID = kind<null, number>('pid');
interface Name {
  readonly name: string;
  readonly owner?: string;
  readonly hangs?: boolean;
}
const HANG = kind<Name, string>('hang', {
  limit: milliseconds(150),
  subject: ({ name, owner }) => ({ id: name, ...(owner === undefined ? {} : { owner }) }),
});

describe('Reader', function () {
  this.timeout(180_000);
  let lines: LogLine[];
  let reader: Reader;

  const make = (program: string | undefined = PROGRAM) => {
    const log = createLog({ level: 'silent', tap: { level: 'warn', accept: (line) => lines.push(line) } });
    return new Reader({ clock: systemClock, log, ...(program === undefined ? {} : { program }) });
  };
  const pid = async () => {
    const [answer] = await reader.ask(PID, [null]);
    assert.equal(answer?.state, 'answered');
    return answer?.state === 'answered' ? answer.value : 0;
  };
  const isAlive = (process: number) => existsSync(`/proc/${process}`);
  const untilExit = (pid: number) => until(`the end of process ${pid}`, () => !isAlive(pid));

  beforeEach(() => {
    lines = [];
    reader = make();
  });
  afterEach(() => reader.close());

  it('answers any number of questions in order with one child', async () => {
    const questions = Array.from({ length: 500 }, (_, i) => ({ i, text: 'ä\0\u2028' }));
    const answers = await reader.ask(ECHO, questions);
    assert.deepEqual(
      answers,
      questions.map((value) => ({ state: 'answered', value })),
    );
    const child = await pid();
    assert.equal(await pid(), child);
    assert.equal(isOwnProcess(child, process.pid), true);
  });

  it('keeps its child when a signal is sent to the whole process group', async () => {
    const child = await pid();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.kill(child, signal);
      assert.equal(await pid(), child, signal);
    }
    assert.deepEqual(lines, []);
  });

  it("starts a child that exits when its pipe closes, as at the agent's death, even after a signal", async () => {
    const child = spawn(process.execPath, [PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
    const ended = once(child, 'exit');
    await once(child.stdout, 'data'); // it is ready
    child.kill('SIGTERM');
    child.stdin.end();
    assert.deepEqual(await ended, [0, null]);
  });

  it('starts the child with an empty environment', async () => {
    const [answer] = await reader.ask(kind('environment'), [null]);
    assert.deepEqual(answer, { state: 'answered', value: { names: [], cwd: '/' } });
  });

  it('returns the error that an answerer throws', async () => {
    const [answer] = await reader.ask(kind('failure'), [null]);
    assert.deepEqual(answer, { state: 'failed', message: 'no such thing', code: 'ENOENT' });
    const [unknown] = await reader.ask(kind('toString'), [null]);
    assert.equal(unknown?.state, 'failed');
  });

  it('kills a child that hangs, reports where, and asks the other questions again', async () => {
    const before = await pid();
    const answers = await reader.ask(HANG, [{ name: 'a' }, { name: 'b', hangs: true }, { name: 'c' }]);
    assert.deepEqual(answers, [
      { state: 'answered', value: 'a' },
      { state: 'hung', ownerSkipped: false, at: 'looking at b' },
      { state: 'answered', value: 'c' },
    ]);
    assert.notEqual(await pid(), before);
    await untilExit(before);
  });

  it('never asks about the same subject again', async () => {
    await reader.ask(HANG, [{ name: 'b', hangs: true }]);
    assert.deepEqual(await reader.ask(HANG, [{ name: 'b' }, { name: 'c' }]), [
      { state: 'avoided' },
      { state: 'answered', value: 'c' },
    ]);
  });

  it('asks again if a single hang may be an accident', async () => {
    const before = await pid();
    const retried = { ...HANG, attempts: 2 };
    const asked = reader.ask(retried, [{ name: 'b', hangs: true }]);
    await untilExit(before);
    assert.deepEqual(await asked, [{ state: 'hung', ownerSkipped: false, at: 'looking at b' }]);
  });

  it('does not ask about an owner after three of their subjects hung', async () => {
    const owned = (name: string, owner: string, hangs = true) => ({ name, owner, hangs });
    const answers = await reader.ask(HANG, [owned('a', 'x'), owned('b', 'x'), owned('c', 'x'), owned('d', 'x')]);
    assert.deepEqual(
      answers.map((answer) => (answer.state === 'hung' ? answer.ownerSkipped : answer.state)),
      [false, false, true, 'avoided'],
    );
    const [other] = await reader.ask(HANG, [owned('e', 'y', false)]);
    assert.deepEqual(other, { state: 'answered', value: 'e' });
  });

  it('rests after many hangs within a minute, and logs it once', async () => {
    const names = Array.from({ length: 1_000 }, (_, i) => ({ name: `p${i}`, owner: `o${i}`, hangs: true }));
    const answers = await reader.ask(HANG, names);
    assert.equal(answers.filter(({ state }) => state === 'hung').length, 10);
    assert.equal(answers.filter(({ state }) => state === 'unavailable').length, 990);
    const [later] = await reader.ask(ECHO, [1]);
    assert.equal(later?.state, 'unavailable');
    assert.equal(lines.length, 1);
  });

  it('extends the limit of a child that is running or reports progress', async () => {
    const before = await pid();
    assert.deepEqual(await reader.ask(kind('busy', { limit: milliseconds(300) }), [700]), [
      { state: 'answered', value: 700 },
    ]);
    // A step may take thirty times as long as it should, on a busy machine.
    assert.deepEqual(await reader.ask(kind('steps', { limit: seconds(3) }), [32]), [{ state: 'answered', value: 32 }]);
    assert.equal(await pid(), before);
  });

  it('accepts an answer that arrived while the agent was blocked', async () => {
    const before = await pid();
    const asked = reader.ask(kind('busy', { limit: milliseconds(200) }), [1]);
    const end = performance.now() + 500;
    while (performance.now() < end);
    assert.deepEqual(await asked, [{ state: 'answered', value: 1 }]);
    assert.equal(await pid(), before);
  });

  it('continues after a crash of the child and after an answer that is too long', async () => {
    const [crash] = await reader.ask(kind('crash'), [null]);
    assert.deepEqual(crash, { state: 'unavailable', message: 'it exited with SIGKILL' });
    const [soon] = await reader.ask(ECHO, [1]);
    assert.deepEqual(soon, { state: 'unavailable', message: 'the reader failed a moment ago' });
    assert.equal(lines.length, 1);
    reader.close();
    reader = make();
    const [long] = await reader.ask(kind('long'), [200_000]);
    assert.equal(long?.state, 'unavailable');
    reader.close();
    reader = make();
    const [fits] = await reader.ask(kind('long'), [90_000]);
    assert.equal(fits?.state, 'answered');
  });

  it('logs once if its children cannot be killed, and again when one has exited', async () => {
    const survivors: ChildProcess[] = [];
    const kill = sinon.stub(ChildProcess.prototype, 'kill').callsFake(function (this: ChildProcess) {
      survivors.push(this);
      return true;
    });
    try {
      let changes = 0;
      const log = createLog({ level: 'silent', tap: { level: 'info', accept: (line) => lines.push(line) } });
      reader = new Reader({ clock: systemClock, log, program: PROGRAM, changed: () => (changes += 1) });
      const names = Array.from({ length: 6 }, (_, i) => ({ name: `p${i}`, owner: `o${i}`, hangs: true }));
      const answers = await reader.ask(HANG, names);
      assert.deepEqual(
        answers.map(({ state }) => state),
        ['hung', 'hung', 'hung', 'hung', 'unavailable', 'unavailable'],
      );
      assert.equal(reader.blockedReason, undefined); // they may still be ending
      await until('a reason why it is blocked', () => reader.blockedReason !== undefined);
      await reader.ask(ECHO, [1]);
      assert.match(reader.blockedReason ?? '', /SIGKILL/);
      kill.restore();
      survivors[0]?.kill('SIGKILL');
      await until('the end of what blocked it', () => reader.blockedReason === undefined);
      assert.deepEqual(
        lines.map(({ level, message }) => `${level} ${message}`),
        [
          "warn Four reader processes can't be killed; no new one is started until one of them exits.",
          'info A reader process that could not be killed has exited; a new one can be started.',
        ],
      );
      assert.equal(changes, 2);
      assert.deepEqual(await reader.ask(ECHO, [1]), [{ state: 'answered', value: 1 }]);
    } finally {
      kill.restore();
      for (const child of survivors) child.kill('SIGKILL');
    }
  });

  it('reports questions as unavailable if the child cannot be started', async () => {
    reader = make('/nonexistent.js');
    const answers = await reader.ask(ECHO, [1, 2]);
    assert.deepEqual(
      answers.map(({ state }) => state),
      ['unavailable', 'unavailable'],
    );
  });

  it('cancels an aborted question and continues with others', async () => {
    const stop = new AbortController();
    const before = await pid();
    const slow = reader.ask(kind('steps'), [100], stop.signal);
    const other = reader.ask(ECHO, ['x']);
    await systemClock.sleep(milliseconds(50));
    stop.abort();
    assert.deepEqual(await slow, [{ state: 'unavailable', message: 'cancelled' }]);
    assert.deepEqual(await other, [{ state: 'answered', value: 'x' }]);
    await untilExit(before);
    assert.deepEqual(await reader.ask(ECHO, [1], stop.signal), [{ state: 'unavailable', message: 'cancelled' }]);
  });

  it('answers every pending question on close, and none afterwards', async () => {
    const child = await pid();
    const slow = reader.ask(kind('steps'), [100, 1]);
    reader.close();
    for (const answer of await slow) assert.equal(answer.state, 'unavailable');
    await untilExit(child);
    const [late] = await reader.ask(ECHO, [1]);
    assert.deepEqual(late, { state: 'unavailable', message: 'the reader is closed' });
  });

  it('rejects more questions than its queue holds', async () => {
    const answers = await reader.ask(ECHO, new Array(6_000).fill(0));
    assert.equal(answers.filter(({ state }) => state === 'unavailable').length, 6_000 - 4_096);
    assert.equal(answers.filter(({ state }) => state === 'answered').length, 4_096);
  });

  it('lets an idle child exit unless it is held', async () => {
    const release = reader.hold();
    const child = await pid();
    let ahead = 0;
    const clock = { ...systemClock, monotonic: () => milliseconds(systemClock.monotonic() + ahead) };
    release();
    reader.close();
    reader = new Reader({ clock, log: createLog({ level: 'silent' }), program: PROGRAM });
    const letGo = reader.hold();
    const held = await pid();
    assert.notEqual(held, child);
    ahead = 11_000;
    await reader.ask(ECHO, [1]);
    assert.equal(await pid(), held);
    ahead = 22_000;
    letGo();
    await untilExit(held);
    assert.notEqual(await pid(), held);
  });
});

describe('the shipped reader', () => {
  it('starts and answers', async () => {
    const reader = new Reader({ clock: systemClock, log: createLog({ level: 'silent' }) });
    const [answer] = await reader.ask(kind('none'), [null]);
    assert.deepEqual(answer, { state: 'failed', message: 'there is no question kind "none"' });
    reader.close();
  });
});
