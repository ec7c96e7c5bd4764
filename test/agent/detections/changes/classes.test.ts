import assert from 'node:assert/strict';
import { listeningPorts } from '../../../../src/agent/collectors/listening-ports.ts';
import { SnapshotChanges } from '../../../../src/agent/detections/changes/snapshot-changes.ts';
import { SocketSelection } from '../../../../src/agent/linux/sockets/socket-selection.ts';
import type { Sources } from '../../../../src/core/contract/sources.ts';
import { release } from '../../../fuzz.ts';

const event = 'ListeningPorts';
const at = new Date('2026-05-01T12:00:00.000Z');

/** `count` ports, none of which are adjacent. */
interface Listeners {
  readonly localAddress: string;
  readonly userId: number;
  readonly from: number;
  readonly count: number;
}

const one = (localAddress: string, userId: number, from: number): Listeners => ({
  localAddress,
  userId,
  from,
  count: 1,
});

/** A snapshot as the collector takes it. */
async function snapshot(...all: readonly Listeners[]) {
  const kept = new SocketSelection();
  for (const { localAddress, userId, from, count } of all) {
    for (let index = 0; index < count; index += 1) {
      const localPort = from + 2 * (index % 20_000);
      const address = localAddress.replace('N', String(Math.floor(index / 20_000)));
      kept.add({ protocol: 'tcp', localAddress: address, localPort, userId, inode: index });
    }
  }
  const sockets = { listening: async () => [...kept.outside, ...kept.loopback] };
  const rows = await listeningPorts.collect({ sockets } as unknown as Sources, AbortSignal.timeout(60_000));
  return { event, at, rows, leftOut: kept.leftOut, leftOutBy: kept.leftOutBy };
}

const SERVICES = [one('0.0.0.0', 0, 22), one('0.0.0.0', 1001, 8_080)];

/** The new ports, as user and port, that the last snapshot shows. */
async function newPorts(...snapshots: readonly (readonly Listeners[])[]): Promise<readonly string[]> {
  let changes = new SnapshotChanges();
  let last: readonly string[] = [];
  for (const listeners of snapshots) {
    last = changes
      .accept(await snapshot(...listeners))
      .filter(({ fields }) => fields.Change === 'added')
      .map(({ fields }) => `${fields.UserId} ${fields.LocalPort}`)
      .sort();
    // A restart changes nothing.
    const restored = new SnapshotChanges();
    restored.restore(JSON.parse(JSON.stringify(changes.toJson())));
    changes = restored;
  }
  return last;
}

describe('Listening ports during a flood', function () {
  this.timeout(60_000);

  const floods: Readonly<Record<string, readonly Listeners[]>> = {
    '12,000 loopback listeners': [{ localAddress: '127.0.0.1', userId: 1000, from: 1_025, count: 12_000 }],
    '12,000 listeners reachable from outside': [{ localAddress: '0.0.0.0', userId: 1000, from: 1_025, count: 12_000 }],
    'more loopback listeners than are listed': [
      { localAddress: '127.0.N.1', userId: 1000, from: 1_025, count: 60_000 },
    ],
    'more outside listeners than are listed': [{ localAddress: '192.0.2.N', userId: 1000, from: 1_025, count: 60_000 }],
    'listeners of 20,000 subordinate ids': Array.from({ length: 20_000 }, (_, index) =>
      one('0.0.0.0', 100_000 + index, 1_025 + 2 * index),
    ),
  };
  for (const [name, flood] of Object.entries(floods)) {
    it(`reports new ports of other users during ${name}${release(name.startsWith('more'))}`, async () => {
      const newcomers = [one('0.0.0.0', 1001, 51_111), one('::', 0, 50_443)];
      const before = [...SERVICES, ...flood];
      assert.deepEqual(
        await newPorts(before, [...before, ...newcomers]),
        ['0 50443', '1001 51111'],
        'since the first snapshot',
      );
      const later = await newPorts(SERVICES, before, before, [...before, ...newcomers]);
      assert.deepEqual(
        later.filter((port) => /^(0|1001) /.test(port)),
        ['0 50443', '1001 51111'],
        'later',
      );
    });
  }

  it('reports no port as new that was open before the flood', async () => {
    for (const flood of [[], ...Object.values(floods).slice(0, 3)]) {
      assert.deepEqual(await newPorts(SERVICES, [...SERVICES, ...flood], SERVICES), []);
    }
  });
});
