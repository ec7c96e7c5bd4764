import { mkdirSync, mkdtempSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Protocol } from '../../../../../src/agent/linux/sockets/connections/socket-calls.ts';
import type { Clock } from '../../../../../src/core/base/clock.ts';
import { milliseconds } from '../../../../../src/core/base/duration.ts';
import type { ConnectionSeen, StreamSink, Streams } from '../../../../../src/core/contract/streams.ts';
import { FakeSockDiag, inetDiag } from '../inet-diag.ts';

/** When all tests take place. */
export const NOW = new Date('2024-05-01T12:00:00.000Z');

/** A host whose processes and sockets are as the test says. */
export class FakeHost {
  readonly proc = mkdtempSync(join(tmpdir(), 'vakt-proc-'));
  readonly kernel = new FakeSockDiag();
  readonly here = readlinkSync('/proc/self/ns/net');
  elapsed = 0;
  readonly clock: Clock = {
    now: () => new Date(NOW.getTime() + this.elapsed),
    monotonic: () => milliseconds(this.elapsed),
    fromKernel: () => NOW,
    sleep: async () => {},
    within: (_limit, _what, work) => work,
  };

  process(pid: number, { network = this.here, executable = '/usr/bin/x', argv = ['x', '-y'] } = {}): void {
    for (const folder of ['fd', 'ns', 'net']) mkdirSync(join(this.proc, String(pid), folder), { recursive: true });
    symlinkSync(network, join(this.proc, String(pid), 'ns/net'));
    symlinkSync(executable, join(this.proc, String(pid), 'exe'));
    writeFileSync(join(this.proc, String(pid), 'cmdline'), argv.map((argument) => `${argument}\0`).join(''));
  }

  /** Without it, the arguments are not requested. */
  stat(pid: number): void {
    writeFileSync(join(this.proc, String(pid), 'stat'), STAT);
  }

  /** What protocolAt finds, by inode. */
  readonly protocols = new Map<number, Protocol>();

  /** @param protocol the protocol that the kernel reports, if it supports the query */
  open(pid: number, fd: number, inode: number, protocol?: Protocol): void {
    if (protocol !== undefined) this.protocols.set(inode, protocol);
    const link = join(this.proc, String(pid), 'fd', String(fd));
    rmSync(link, { force: true });
    symlinkSync(`socket:[${inode}]`, link);
  }

  end(pid: number): void {
    rmSync(join(this.proc, String(pid)), { recursive: true });
  }

  net(pid: number, file: 'tcp' | 'tcp6' | 'udp' | 'udp6', lines: readonly string[]): void {
    writeFileSync(join(this.proc, String(pid), 'net', file), lines.join('\n'));
  }

  listener(inode: number, localPort: number, local = '00000000'): void {
    this.kernel.tcp.push(inetDiag({ inode, localPort, local }));
  }

  /** From 192.0.2.2, port 50,000 and the number, to 192.0.2.7. */
  connected(protocol: 'tcp' | 'udp', inode: number, remotePort: number, localPort = 50_000 + inode): void {
    this.kernel[protocol].push(inetDiag({ ...ENDS, state: 1, inode, remotePort, localPort }));
  }

  /** The remaining socket of a connection that was closed `ago` milliseconds ago. */
  closed(agoMs: number, remotePort: number, localPort: number, local: string = ENDS.local): void {
    this.#left({ local, state: 6, expires: 60_000 - agoMs, remotePort, localPort });
  }

  /** A socket in FIN-WAIT-2, with its remaining time: the peer has not closed the connection. */
  halfClosed(expires: number, remotePort: number, localPort: number): void {
    this.#left({ state: 5, expires, remotePort, localPort });
  }

  #left(answer: Parameters<typeof inetDiag>[0]): void {
    this.kernel.tcp.push(inetDiag({ ...ENDS, timer: 3, inode: 0, ...answer }));
  }

  /** Delays each list by this many milliseconds. */
  takes(time: number): void {
    const ask = this.kernel.send;
    this.kernel.send = (...request) => {
      this.elapsed += time;
      return ask(...request);
    };
  }

  close(): void {
    rmSync(this.proc, { recursive: true });
  }
}

const STAT = '7 (x) S 6 7 7 0 -1 4194560 102 0 0 0 0 0 0 0 20 0 1 0 100 2703360 190 18446744073709551615\n';

const ENDS = { local: 'c0000202', remote: 'c0000207' } as const;

/** The reported connections. */
export class ConnectionSink implements StreamSink {
  readonly seen: ConnectionSeen[] = [];
  unresolved = 0;

  accept<K extends keyof Streams>(stream: K, records: readonly Streams[K][]): void {
    if (stream === 'connections') this.seen.push(...(records as readonly ConnectionSeen[]));
  }

  drop(_stream: keyof Streams, _reason: string, count: number): void {
    this.unresolved += count;
  }
}
