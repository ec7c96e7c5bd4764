import assert from 'node:assert/strict';
import { appendFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sinon from 'sinon';
import { LogReader } from '../../../../src/agent/linux/audit/audit-log-source.ts';
import { LogTail, type ResumePoint } from '../../../../src/agent/linux/audit/log-tail.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { temporaryFolder } from '../../../harness/folders.ts';

/** The records of a program start. */
const start = (serial: number) => {
  const header = `msg=audit(1795546164.720:${serial}):`;
  return [
    `type=SYSCALL ${header} arch=c000003e syscall=59 success=yes exit=0 ppid=1 pid=2 euid=0 exe="/usr/bin/true"\n`,
    `type=EXECVE ${header} argc=1 a0="true"\n`,
    `type=CWD ${header} cwd="/"\n`,
    `type=PROCTITLE ${header} proctitle=74727565\n`,
  ] as const;
};

describe('LogReader', () => {
  let folder: string;
  let log: string;
  let clock: sinon.SinonFakeTimers;
  let reader: LogReader;
  let reported: number[];

  const add = (...records: readonly string[]) => appendFileSync(log, records.join(''));
  /** As after kill -9: only the position of an earlier reader remains. */
  const open = (position?: ResumePoint) => {
    const tail = new LogTail(log);
    tail.open(position === undefined ? {} : { position });
    reported = [];
    const deliver = (events: readonly { serial: number }[]) => reported.push(...events.map(({ serial }) => serial));
    reader = new LogReader(tail, deliver, systemClock, { told: position?.told });
  };
  const reopen = () => {
    const { position } = reader;
    reader.close();
    open(position);
  };

  beforeEach(() => {
    clock = sinon.useFakeTimers({ toFake: ['Date', 'performance'] });
    folder = temporaryFolder();
    log = join(folder, 'audit.log');
    writeFileSync(log, '');
    open();
  });
  afterEach(() => {
    reader.close();
    clock.restore();
  });

  it('reports when all existing lines were delivered, including events that wait for more records', async () => {
    const [system, execve, directory] = start(1);
    add(system, execve, directory); // without the record that would be the last one
    const tail = new LogTail(log);
    tail.open({ since: 0 });
    const calls: string[] = [];
    const deliver = (events: readonly { serial: number }[]) =>
      calls.push(...events.map(({ serial }) => `event ${serial}`));
    const other = new LogReader(tail, deliver, systemClock, { reachedEnd: () => calls.push('end') });
    for (let read = 0; read < 5; read += 1) {
      await other.read();
      clock.tick(1_000);
      if (read === 0) add(...start(2));
    }
    other.close();
    assert.deepEqual(calls.toSorted(), ['end', 'event 1', 'event 2']);
    assert.ok(calls.indexOf('end') > calls.indexOf('event 1'), calls.join());
  });

  it('continues at its old position if no event is incomplete', async () => {
    add(...start(1));
    await reader.read();
    assert.equal(reader.position.told, undefined);
    reopen();
    add(...start(2));
    await reader.read();
    assert.deepEqual(reported, [2]);
  });

  it('reads a half-written event completely, and reports no event twice', async () => {
    const [call, ...rest] = start(2);
    add(...start(1), call, ...start(3));
    await reader.read();
    assert.deepEqual(reported, [1, 3]);
    reopen();
    add(...rest, ...start(4));
    await reader.read();
    assert.deepEqual(reported, [2, 4]);
    reopen();
    await reader.read();
    assert.deepEqual(reported, []);
  });

  it('returns no further than to the start of the incomplete event', async () => {
    add(...start(1));
    await reader.read();
    const { position } = reader;
    clock.tick(500);
    add(...start(2).slice(0, 2));
    await reader.read();
    clock.tick(500);
    add(...start(3));
    await reader.read();
    assert.deepEqual({ ...reader.position, told: undefined }, { ...position, told: undefined });
    add(...start(2).slice(2));
    await reader.read();
    assert.equal(reader.position.told, undefined);
  });

  it('delivers an event that stays incomplete, and continues after it', async () => {
    add(...start(1).slice(0, 2));
    await reader.read();
    assert.deepEqual(reported, []);
    reopen();
    clock.tick(2_000);
    await reader.read();
    assert.deepEqual(reported, []);
    clock.tick(2_000);
    await reader.read();
    assert.deepEqual(reported, [1]);
    assert.equal(reader.position.told, undefined);
  });

  it('finds a reported position in the next file after a rotation', async () => {
    const [call, ...rest] = start(1);
    add(call);
    await reader.read();
    renameSync(log, `${log}.1`);
    writeFileSync(log, '');
    add(...start(2));
    await reader.read();
    assert.deepEqual(reported, [2]);
    reopen();
    add(...rest);
    await reader.read();
    assert.deepEqual(reported, [1]);
  });

  it('reads the next file if the one with its position was removed', async () => {
    const [call, ...rest] = start(1);
    add(call);
    await reader.read();
    const { position } = reader;
    reader.close();
    renameSync(log, `${log}.1`);
    writeFileSync(log, '');
    add(...rest, ...start(2));
    open({ ...position, told: { inode: 1, offset: 10 } });
    await reader.read();
    assert.deepEqual(reported, [1, 2]);
  });
});
