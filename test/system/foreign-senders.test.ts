import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, readFileSync } from 'node:fs';
import { writeU16, writeU32 } from '../../src/agent/linux/native/byte-order.ts';
import { encodeMessage } from '../../src/agent/linux/native/netlink/message.ts';
import {
  NETLINK_AUDIT,
  NETLINK_CONNECTOR,
  NETLINK_SOCK_DIAG,
  openNetlink,
} from '../../src/agent/linux/native/netlink/socket.ts';
import { systemCalls } from '../../src/agent/linux/native/system-calls.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds } from '../../src/core/base/duration.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { missingForAudit } from './missing-for-audit.ts';

const AF_NETLINK = 16;
const SOCK_RAW_NONBLOCK = 0o4003;
const READER = new URL('./read-inherited.js', import.meta.url).pathname;
/** USER_LOGIN of linux/audit.h: a record worth forging. */
const FORGED = encodeMessage(1112, 0, 0, Buffer.from('audit(1795536426.345:6): forged'));

/** Returns a socket's port: the column Pid of /proc/net/netlink. */
const portOf = (fd: number): number => {
  const inode = String(fstatSync(fd).ino);
  const line = readFileSync('/proc/net/netlink', 'latin1')
    .split('\n')
    .find((row) => row.trim().split(/\s+/).at(-1) === inode);
  return Number(line?.trim().split(/\s+/)[2]);
};

/** Sends like another privileged process. @returns whether the kernel delivered it */
function forge(protocol: number, { port = 0, groups = 0 }: { port?: number; groups?: number }): boolean {
  const system = systemCalls();
  const fd = system.socket(AF_NETLINK, SOCK_RAW_NONBLOCK, protocol);
  try {
    const address = Buffer.alloc(12);
    writeU16(address, 0, AF_NETLINK);
    assert.equal(system.bind(fd, address, address.length), 0);
    writeU32(address, 4, port);
    writeU32(address, 8, groups);
    return system.sendto(fd, FORGED, FORGED.length, 0, address, address.length) >= 0;
  } finally {
    closeSync(fd);
  }
}

describe('A netlink socket, when another process with CAP_NET_ADMIN sends to it', () => {
  let child: ChildProcess | undefined;

  before(async function () {
    require(this, await missingForAudit());
  });
  afterEach(async () => {
    if (child === undefined) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    child = undefined;
  });

  for (const [name, protocol, groups] of [
    ['audit', NETLINK_AUDIT, 0],
    ['audit, in its multicast group', NETLINK_AUDIT, 1],
    ['the process connector', NETLINK_CONNECTOR, 1],
    ['sock_diag', NETLINK_SOCK_DIAG, 0],
  ] as const) {
    it(`receives nothing sent to its own port (${name})`, () => {
      const socket = openNetlink(protocol, { groups });
      try {
        assert.equal(forge(protocol, { port: portOf(socket.fd) }), false);
        assert.equal(forged(socket), 0);
      } finally {
        socket.close();
      }
    });
  }

  for (const [name, protocol] of [
    ['audit', NETLINK_AUDIT],
    ['the process connector', NETLINK_CONNECTOR],
  ] as const) {
    it(`skips what was sent to its multicast group (${name})`, () => {
      const socket = openNetlink(protocol, { groups: 1 });
      try {
        forge(protocol, { groups: 1 });
        assert.equal(forged(socket), 0);
      } finally {
        socket.close();
      }
    });

    it(`skips what was sent to a socket that it inherited, before and after its start (${name})`, async () => {
      const passedOn = systemCalls().socket(AF_NETLINK, SOCK_RAW_NONBLOCK, protocol);
      try {
        const address = Buffer.alloc(12);
        writeU16(address, 0, AF_NETLINK);
        writeU32(address, 8, 1);
        assert.equal(systemCalls().bind(passedOn, address, address.length), 0);
        const port = portOf(passedOn);
        assert.ok(forge(protocol, { port }), 'a socket that is not connected receives it');
        forge(protocol, { groups: 1 });
        child = spawn(
          '/bin/sh',
          ['-c', 'LISTEN_PID=$$ exec "$@"', 'sh', process.execPath, READER, String(protocol), '1'],
          {
            stdio: ['ignore', 'pipe', 'inherit', passedOn],
            env: { ...process.env, LISTEN_FDS: '1' },
          },
        );
        let output = '';
        child.stdout?.setEncoding('utf8').on('data', (text: string) => {
          output += text;
        });
        await until('the reader to be ready', () => output.includes('ready\n'));
        assert.equal(forge(protocol, { port }), false);
        forge(protocol, { groups: 1 });
        await systemClock.sleep(milliseconds(300));
        assert.doesNotMatch(output, /forged/);
      } finally {
        closeSync(passedOn);
      }
    });
  }
});

/** Counts the forged datagrams in a socket's buffer, which may also contain datagrams of the kernel. */
function forged(socket: ReturnType<typeof openNetlink>): number {
  let found = 0;
  for (let datagram = socket.receive(); datagram !== undefined; datagram = socket.receive())
    if (datagram.includes('forged')) found += 1;
  return found;
}
