import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { LoginConnections } from '../../../../src/agent/linux/logins/login-connections.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { milliseconds } from '../../../../src/core/base/duration.ts';
import { temporaryFolder } from '../../../harness/folders.ts';

const now = () => new Date();

describe('LoginConnections', () => {
  let proc: string;

  beforeEach(() => {
    proc = temporaryFolder();
  });

  const hex = (address: string) => {
    const bytes = Buffer.from(address.split('.').map(Number));
    return (endianness() === 'LE' ? bytes.swap32() : bytes).toString('hex').toUpperCase();
  };
  const port = (number: number) => number.toString(16).toUpperCase().padStart(4, '0');
  const line = (local: string, remote: string, inode: number) => {
    const [from, to] = [local, remote].map((end) => end.split(':')) as [string[], string[]];
    const ends = [from, to].map(([address = '', number]) => `${hex(address)}:${port(Number(number))}`);
    return `   0: ${ends.join(' ')} 01 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0 20 4 30 10 -1\n`;
  };
  const put = (pid: number, inodes: readonly number[], lines: readonly string[]) => {
    mkdirSync(join(proc, `${pid}/fd`), { recursive: true });
    mkdirSync(join(proc, `${pid}/net`), { recursive: true });
    for (const [fd, inode] of inodes.entries()) symlinkSync(`socket:[${inode}]`, join(proc, `${pid}/fd/${fd}`));
    writeFileSync(join(proc, `${pid}/net/tcp`), ` sl local_address ...\n${lines.join('')}`);
  };

  it("returns the ports of the process's connection with that address", () => {
    put(
      812,
      [5, 6, 7],
      [
        line('10.0.0.1:22', '192.0.2.7:50001', 99),
        line('127.0.0.1:22', '127.0.0.1:50002', 5),
        line('10.0.0.1:22', '192.0.2.7:50003', 6),
      ],
    );
    const connections = new LoginConnections({ clock: systemClock, proc });
    assert.deepEqual(connections.portsOf(812, '192.0.2.7', now()), { remote: 50_003, local: 22 });
    assert.equal(connections.portsOf(812, '192.0.2.8', now()), undefined);
    assert.equal(connections.portsOf(813, '192.0.2.7', now()), undefined, 'a process that has ended');
    assert.equal(connections.portsOf(812, '192.0.2.7', new Date(Date.now() - 11_000)), undefined, 'may be another one');
  });

  it('skips a lookup that would take too long', () => {
    put(812, [6], [line('10.0.0.1:22', '192.0.2.7:50003', 6)]);
    let time = 0;
    const clock = {
      ...systemClock,
      monotonic: () => {
        time += 60; // every look at the clock
        return milliseconds(time);
      },
    };
    const connections = new LoginConnections({ clock, proc });
    const found = Array.from({ length: 20 }, () => connections.portsOf(812, '192.0.2.7', now())?.remote);
    assert.equal(found[0], 50_003);
    assert.ok(found.filter((each) => each === undefined).length >= 15, String(found));
  });

  it('finds the ports in the real /proc', async () => {
    const address = '127.7.7.7'; // which no other test that runs in this process connects to
    const server = createServer().listen(0, address);
    await once(server, 'listening');
    const { port: listening } = server.address() as { port: number };
    const client = connect(listening, address);
    await once(client, 'connect');
    const connections = new LoginConnections({ clock: systemClock, proc: '/proc' });
    assert.deepEqual(connections.portsOf(process.pid, address, now()), { remote: listening, local: client.localPort });
    client.destroy();
    server.close();
  });
});
