import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseStat } from '../../../../../src/agent/host/proc-folder.ts';
import { readCommandLine } from '../../../../../src/agent/linux/processes/memory/command-line.ts';
import { CommandLines } from '../../../../../src/agent/linux/processes/memory/command-lines.ts';
import type { Answer } from '../../../../../src/agent/reader/question.ts';
import { Reader } from '../../../../../src/agent/reader/reader.ts';
import { systemClock } from '../../../../../src/core/base/clock.ts';
import { createLog, type LogLine } from '../../../../../src/core/base/log.ts';
import { FakeProc } from '../fake-proc.ts';

describe('readCommandLine', () => {
  let proc: FakeProc;
  beforeEach(() => {
    proc = new FakeProc();
  });
  afterEach(() => proc.close());

  const read = (more: object = {}) => readCommandLine({ proc: proc.path, pid: 7, startTicks: 100, userId: 0, ...more });

  it('returns the command line of the requested process, and of the requested program', () => {
    proc.add(7, { argv: ['x', '-y', 'a b'] });
    assert.equal(read(), 'x\0-y\0a b\0');
    assert.equal(read({ executable: '/bin/x' }), 'x\0-y\0a b\0');
    assert.equal(read({ executable: '/bin/z' }), null);
    assert.equal(read({ startTicks: 101 }), null);
    assert.equal(read({ pid: 8 }), null);
    proc.add(7, { state: 'Z' });
    assert.equal(read(), null);
  });

  it('truncates after 128 KiB, or earlier on request', () => {
    proc.add(7);
    writeFileSync(join(proc.path, '7/cmdline'), 'x'.repeat(200_000));
    assert.equal(read()?.length, 128 * 1024);
    assert.equal(read({ maxBytes: 1e9 })?.length, 128 * 1024);
    assert.equal(read({ maxBytes: 100 })?.length, 100);
  });
});

describe('CommandLines', () => {
  const asked = { pid: 7, startTicks: 1, userId: 1_000, executable: '/bin/x\u202e' };
  let lines: LogLine[];
  const ask = async (answer: unknown) => {
    lines = [];
    const log = createLog({ level: 'silent', tap: { level: 'warn', accept: (line) => lines.push(line) } });
    const reader = { ask: async () => [answer as Answer<string | null>] } as unknown as Reader;
    const [commandLine] = await new CommandLines({ reader, proc: '/proc', log }).read([asked]);
    return commandLine;
  };

  it('returns command lines from the reader', async () => {
    const reader = new Reader({ clock: systemClock, log: createLog({ level: 'silent' }) });
    const commandLines = new CommandLines({ reader, proc: '/proc', log: createLog({ level: 'silent' }) });
    const startTicks = parseStat(readFileSync('/proc/self/stat', 'utf8'))?.startTicks ?? 0;
    const [own, gone] = await commandLines.read([
      { pid: process.pid, startTicks, userId: 0 },
      { pid: process.pid, startTicks: startTicks + 1, userId: 0 },
    ]);
    assert.ok(own !== undefined && 'argv' in own && own.argv.length > 1, JSON.stringify(own));
    assert.deepEqual(gone, { unread: 'ended' });
    commandLines.close();
    assert.deepEqual(await commandLines.read([{ pid: 1, startTicks, userId: 0 }]), [{ unread: 'unavailable' }]);
  });

  it('returns the reason for a missing command line', async () => {
    assert.deepEqual(await ask({ state: 'answered', value: null }), { unread: 'ended' });
    assert.deepEqual(await ask({ state: 'answered', value: { not: 'text' } }), { unread: 'ended' });
    assert.deepEqual(await ask({ state: 'avoided' }), { unread: 'avoided' });
    assert.deepEqual(await ask({ state: 'failed', message: '' }), { unread: 'unavailable' });
    assert.deepEqual(await ask(undefined), { unread: 'unavailable' });
    assert.equal(lines.length, 0);
  });

  it('logs a hang with the process, its program and its user', async () => {
    assert.deepEqual(await ask({ state: 'hung', ownerSkipped: false }), { unread: 'hung' });
    assert.equal(lines.length, 1);
    assert.match(lines[0]?.message ?? '', /sign of an attack.*process 7, \/bin\/x.*user 1000/);
    await ask({ state: 'hung', ownerSkipped: true });
    assert.equal(lines.length, 2);
    assert.match(lines[1]?.message ?? '', /user 1000/);
  });
});
