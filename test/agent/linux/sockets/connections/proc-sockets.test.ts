import assert from 'node:assert/strict';
import { closeSync, fstatSync, mkdirSync, openSync, symlinkSync, writeFileSync } from 'node:fs';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { systemCalls } from '../../../../../src/agent/linux/native/system-calls.ts';
import {
  inodeAt,
  isAlive,
  networkOf,
  type ProcSocket,
  parseProcSocket,
  protocolAt,
  socketsAround,
} from '../../../../../src/agent/linux/sockets/connections/proc-sockets.ts';
import { temporaryFolder } from '../../../../harness/folders.ts';
import { skip } from '../../../../harness/require.ts';

const HEADING =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     ';
const LISTENER =
  '   0: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 640 1 000000008c79d619 100 0 0 10 0                       ';
const CONNECTED =
  '   1: 020200C0:C704 507100CB:0050 01 00000000:00000000 00:00000000 00000000    42        0 69213 2 00000000b52b1ffb 20 4 0 37 -1                     ';
const MAPPED =
  '  12: 0000000000000000FFFF00000100007F:8BC3 0000000000000000FFFF00000100007F:A6CE 01 00000000:00000000 00:00000000 00000000     0        0 70001 1 0000000000000000 20 0 0 10 -1';
const UDP =
  ' 4711: 0100007F:A0D5 0100007F:8542 01 00000000:00000000 00:00000000 00000000     0        0 70002 2 0000000000000000 0';
const TIME_WAIT =
  '   3: 0100007F:A0D5 0100007F:8542 06 00000000:00000000 03:00000B1F 00000000     0        0 0 3 0000000000000000';

describe('parseProcSocket', () => {
  const parse = (line: string, protocol: 'TCP' | 'UDP' = 'TCP') => parseProcSocket(line, protocol, {}, 'LE');

  it('parses a connection', () => {
    assert.deepEqual(parse(CONNECTED), {
      protocol: 'TCP',
      local: { address: '192.0.2.2', port: 50_948 },
      remote: { address: '203.0.113.80', port: 80 },
      inode: 69_213,
    });
  });

  it('parses an IPv4 connection of an IPv6 socket', () => {
    const { local, remote } = parse(MAPPED) ?? {};
    assert.deepEqual(
      [local, remote],
      [
        { address: '127.0.0.1', port: 35_779 },
        { address: '127.0.0.1', port: 42_702 },
      ],
    );
  });

  it('parses UDP, and a listener as a socket without a peer', () => {
    assert.equal(parse(UDP, 'UDP')?.remote?.port, 34_114);
    assert.deepEqual(parse(LISTENER), { protocol: 'TCP', local: { address: '0.0.0.0', port: 2_024 }, inode: 640 });
  });

  it('parses a connection on a big-endian machine', () => {
    const line = CONNECTED.replace('020200C0', 'C0000202').replace('507100CB', 'CB007150');
    assert.deepEqual(parseProcSocket(line, 'TCP', {}, 'BE'), parse(CONNECTED));
  });

  it('skips sockets that were not requested', () => {
    assert.equal(parseProcSocket(CONNECTED, 'TCP', { inodes: new Set([1]) }), undefined);
  });

  it('parses a socket with a requested peer, even if it is closed', () => {
    const inodeOf = (line: string, address: string, port: number) => {
      const peers = new Map([[port, new Set([address])]]);
      return parseProcSocket(line, 'TCP', { inodes: new Set(), peers }, 'LE')?.inode;
    };
    assert.equal(inodeOf(CONNECTED, '203.0.113.80', 80), 69_213);
    assert.equal(inodeOf(TIME_WAIT, '127.0.0.1', 34_114), 0);
    assert.equal(inodeOf(CONNECTED, '203.0.113.80', 81), undefined);
    assert.equal(inodeOf(CONNECTED, '203.0.113.81', 80), undefined);
  });

  for (const [what, line] of Object.entries({
    'the heading': HEADING,
    'what is left of a closed one': TIME_WAIT,
    'a line cut short': CONNECTED.slice(0, 90),
    'an address of seven digits': CONNECTED.replace('020200C0', '20200C0'),
    nothing: '',
  })) {
    it(`skips ${what}`, () => assert.equal(parse(line), undefined));
  }
});

describe('ProcSockets', () => {
  let proc: string;

  beforeEach(() => {
    proc = temporaryFolder();
    for (const folder of ['7/fd', '7/ns', '7/net']) mkdirSync(join(proc, folder), { recursive: true });
  });

  const around = (...inodes: number[]) => {
    const sockets: ProcSocket[] = [];
    const isComplete = socketsAround(proc, 7, { inodes: new Set(inodes) }, (socket) => sockets.push(socket));
    return { sockets, isComplete };
  };

  it('returns whether a process runs, its descriptors and its network namespace', () => {
    symlinkSync('socket:[42]', join(proc, '7/fd/3'));
    symlinkSync('/dev/null', join(proc, '7/fd/4'));
    symlinkSync('net:[4026531840]', join(proc, '7/ns/net'));
    assert.deepEqual([isAlive(proc, 7), isAlive(proc, 8)], [true, false]);
    assert.deepEqual([inodeAt(proc, 7, 3), inodeAt(proc, 7, 4), inodeAt(proc, 7, 5)], [42, undefined, undefined]);
    assert.deepEqual([networkOf(proc, 7), networkOf(proc, 8)], ['net:[4026531840]', undefined]);
  });

  it('returns the requested sockets in its namespace', function () {
    if (endianness() !== 'LE') return skip(this, 'the records are of a little-endian machine');
    writeFileSync(join(proc, '7/net/tcp'), [HEADING, LISTENER, CONNECTED].join('\n'));
    writeFileSync(join(proc, '7/net/udp'), [HEADING, UDP].join('\n'));
    const { sockets, isComplete } = around(69_213, 70_002);
    assert.deepEqual(
      sockets.map(({ inode, protocol }) => [inode, protocol]),
      [
        [70_002, 'UDP'],
        [69_213, 'TCP'],
      ],
    );
    assert.ok(isComplete); // a kernel without IPv6 has no other lists
  });

  it('returns nothing from an overlong or unreadable list, and reports it as incomplete', function () {
    if (endianness() !== 'LE') return skip(this, 'the records are of a little-endian machine');
    writeFileSync(join(proc, '7/net/tcp'), `${CONNECTED}\n`.repeat(30_000));
    writeFileSync(join(proc, '7/net/udp'), UDP);
    const found = around(69_213, 70_002);
    assert.deepEqual([found.sockets.map(({ inode }) => inode), found.isComplete], [[70_002], false]);
    writeFileSync(join(proc, '7/net/tcp'), CONNECTED);
    assert.equal(around().isComplete, true);
    mkdirSync(join(proc, '7/net/tcp6'));
    assert.equal(around().isComplete, false);
  });

  it('reports an incomplete result if the process exits during the read', () => {
    writeFileSync(join(proc, '7/net/udp'), UDP);
    assert.equal(around().isComplete, false);
  });
});

describe('protocolAt', () => {
  const at = (fd: number, inode = fstatSync(fd).ino) => protocolAt('/proc', process.pid, fd, inode);
  const of = (family: number, type: number, protocol = 0) => {
    const fd = systemCalls().socket(family, type, protocol);
    if (fd < 0) return 'refused';
    try {
      return at(fd);
    } finally {
      closeSync(fd);
    }
  };

  it('recognises TCP and UDP', () => {
    const kinds: [ReturnType<typeof of>, number, number, number?][] = [
      ['TCP', 2, 1],
      ['TCP', 10, 1],
      ['TCP', 2, 1, 262],
      ['UDP', 2, 2],
      ['UDP', 10, 2],
      ['other', 1, 1],
      ['other', 1, 2],
      ['other', 16, 3, 4],
      ['other', 2, 2, 136],
      ['other', 2, 2, 1],
      ['other', 2, 1, 132],
    ];
    const found = kinds.map(([expected, ...kind]) => [expected, of(...kind)] as const);
    for (const [expected, kind] of found) if (kind !== 'refused') assert.equal(kind, expected);
    assert.ok(found.some(([, kind]) => kind === 'TCP'));
  });

  it('returns undefined for another socket, a file and a closed descriptor', () => {
    const fd = systemCalls().socket(2, 1, 0);
    assert.equal(at(fd, fstatSync(fd).ino + 1), undefined);
    closeSync(fd);
    assert.equal(protocolAt('/proc', process.pid, 1_000_000, 1), undefined);
    const file = openSync('/dev/null', 'r');
    assert.equal(at(file), undefined);
    closeSync(file);
  });
});
