import assert from 'node:assert/strict';
import { processCreate } from '../../../src/agent/collectors/process-create.ts';
import { blanked } from '../../../src/agent/pipeline/element-table.ts';
import type { Lookups } from '../../../src/core/contract/lookups.ts';
import type { ProcessStarted, StartedProcess } from '../../../src/core/contract/streams.ts';
import { CONTAINER, look, records, SHA256 } from './samples.ts';

const payloadOf = (change: Partial<ProcessStarted> = {}, lookups = look) =>
  processCreate.translate({ ...records.starts, ...change }, lookups);

/** Arguments of the lookup, which finds nothing. */
const asked: StartedProcess[] = [];
const ignorant: Lookups = {
  ...look,
  started(process) {
    asked.push(process);
    return { containerId: undefined, sha256: undefined };
  },
};

/** A start as sources other than audit report it. */
const bare: ProcessStarted = {
  time: records.starts.time,
  pid: 1445,
  parentPid: 1444,
  userId: 1000,
  executable: '/usr/bin/ls',
  commandLine: 'ls -l',
  argv: ['ls', '-l'],
};
const { executable: _, ...hidden } = bare;

describe('ProcessCreate', () => {
  it('reports the program, its arguments and its user', () => {
    assert.deepEqual(payloadOf(), {
      Executable: '/usr/bin/ls',
      CommandLine: 'ls -l /tmp',
      ProcessId: 1445,
      ParentProcessId: 1444,
      UserId: '1000',
      UserName: 'alice',
      ExtraDetails: {
        ContainerId: CONTAINER,
        Sha256: SHA256,
        CurrentDirectory: '/home/alice',
        Terminal: 'pts0',
        LoginUserId: '1000',
      },
    });
  });

  it('reports the facts that are available without audit', () => {
    assert.deepEqual(processCreate.translate(bare, look), {
      Executable: '/usr/bin/ls',
      CommandLine: 'ls -l',
      ProcessId: 1445,
      ParentProcessId: 1444,
      UserId: '1000',
      UserName: 'alice',
      ExtraDetails: { ContainerId: CONTAINER, Sha256: SHA256 },
    });
  });

  it('reports the reason of a missing digest, even when aggregated', () => {
    const started = () => ({ containerId: undefined, sha256: undefined, hashOmitted: 'mount' as const });
    const payload = payloadOf({}, { ...look, started });
    const { HashOmitted, Sha256 } = (payload?.ExtraDetails ?? {}) as Record<string, string>;
    assert.deepEqual([HashOmitted, Sha256], ['mount', undefined]);
    const { aggregate = assert.fail() } = processCreate;
    assert.deepEqual(blanked(aggregate, payload ?? {}).payload.ExtraDetails, { HashOmitted: 'mount' });
    const seen = processCreate.translate(bare, { ...look, started });
    assert.deepEqual(seen?.ExtraDetails, { HashOmitted: 'mount' });
  });

  it('keeps the starter of a set-user-id program when starts are aggregated', () => {
    const payload = payloadOf({ userId: 0, realUserId: 2001 }) ?? {};
    const { aggregate = assert.fail() } = processCreate;
    const { RealUserId } = blanked(aggregate, payload).payload.ExtraDetails as Record<string, string>;
    assert.deepEqual([payload.UserId, RealUserId], ['0', '2001']);
  });

  it('omits names without a local account, and unknown details', () => {
    assert.deepEqual(processCreate.translate({ ...bare, userId: 4711 }, ignorant), {
      Executable: '/usr/bin/ls',
      CommandLine: 'ls -l',
      ProcessId: 1445,
      ParentProcessId: 1444,
      UserId: '4711',
    });
  });

  it('looks up details by process, image and start time', () => {
    asked.length = 0;
    payloadOf({}, ignorant);
    const [{ pid, parentPid, userId, loginUserId, executable, startedAt } = assert.fail()] = asked;
    assert.deepEqual(
      [pid, parentPid, userId, loginUserId, executable, startedAt],
      [1445, 1444, 1000, 1000, '/usr/bin/ls', records.starts.time],
    );
  });

  it('reports the digest from IMA', () => {
    const details = payloadOf({ imaHash: `sha256:${SHA256}` })?.ExtraDetails as Record<string, string>;
    assert.equal(details.Hash, `sha256:${SHA256}`);
  });

  it('accepts a program without arguments', () => assert.equal(payloadOf({ commandLine: '' })?.CommandLine, ''));

  it('does not change arguments', () => {
    assert.equal(payloadOf({ commandLine: 'sh -c  a  "b"\n\u0000é' })?.CommandLine, 'sh -c  a  "b"\n\u0000é');
  });

  it('reports truncated arguments', () => {
    const details = payloadOf({ commandLineBytesCut: 70_000 })?.ExtraDetails as Record<string, string>;
    assert.equal(details.CommandLineBytesCut, '70000');
  });

  it('reports the reason of missing arguments', () => {
    const { commandLine: __, argv: ___, ...unread } = bare;
    const payload = processCreate.translate({ ...unread, commandLine: '', commandLineUnread: 'hung' }, ignorant);
    assert.deepEqual([payload?.CommandLine, payload?.ExtraDetails], ['', { CommandLineUnread: 'hung' }]);
  });

  it('looks up a hidden image by nothing that can be forged', () => {
    asked.length = 0;
    const payload = processCreate.translate({ ...hidden, argv: ['/usr/bin/ls'] }, ignorant);
    assert.deepEqual(
      asked.map(({ executable }) => executable),
      [undefined],
    );
    assert.equal(payload?.ExtraDetails, undefined);
  });

  for (const [argv, executable] of [
    [['/usr/bin/ls', '-l'], '/usr/bin/ls'],
    [['ls', '-l'], 'unknown'],
    [[], 'unknown'],
    [undefined, 'unknown'],
  ] as const) {
    it(`reports ${executable} for a hidden image with argv [${argv ?? 'unknown'}]`, () => {
      assert.equal(processCreate.translate({ ...hidden, argv }, look)?.Executable, executable);
    });
  }
});

describe('aggregated ProcessCreate', () => {
  const { aggregate = assert.fail() } = processCreate;

  it('omits facts that differ between equal starts', () => {
    assert.deepEqual(blanked(aggregate, payloadOf({ imaHash: 'sha1:0' }) ?? {}).payload, {
      Executable: '/usr/bin/ls',
      CommandLine: 'ls -l /tmp',
      ProcessId: 0,
      ParentProcessId: 0,
      UserId: '1000',
      UserName: 'alice',
      ExtraDetails: { ContainerId: CONTAINER, Sha256: SHA256, Hash: 'sha1:0' },
    });
  });

  it('omits details of any other name', () => {
    const ExtraDetails = JSON.parse('{ "__proto__": "a", "toString": "b" }');
    assert.deepEqual(blanked(aggregate, { ...payloadOf(), ExtraDetails }).payload.ExtraDetails, undefined);
  });

  it('distinguishes starts by command line, program, users, image and container', () => {
    assert.deepEqual(aggregate.by, ['CommandLine', 'Executable', 'UserId', 'UserName']);
    assert.deepEqual(aggregate.details, ['ContainerId', 'RealUserId', 'Sha256', 'HashOmitted', 'Hash']);
  });
});
