/*
 * Cost of `vakt fleet` for many devices: time, requests to the hub, and peak memory. The hub is the emulator in this process,
 * without limits unless a row names one; a real hub of one S1 unit creates 100 modules per minute. The peer is a plain loop with
 * the official client, one device after the other.
 *
 *   node dist/test/bench/fleet.bench.js [devices, 10000] [devices for memory, 100000]
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds } from '../../src/core/base/duration.ts';
import { HubEmulator } from '../../src/emulator/hub.ts';
import { addSimulatedDevices, simulatedDevice } from '../../src/emulator/simulated-devices.ts';
import { ServiceClient } from '../emulator/service/client.ts';
import { nodeFlagsOf } from '../node-flags.ts';
import { report } from './figures.ts';

const [COUNT = 10_000, MANY = 100_000] = process.argv.slice(2).map(Number);
const MODULE = 'azureiotsecurity';
const OBJECT = 'ms_iotn:urn_azureiot_Security_SecurityAgentConfiguration';
/** `vakt fleet` is not in the bundle. */
const PROGRAM = new URL('../../src/main.js', import.meta.url).pathname;
const PEER_DEVICES = 500;

const folder = mkdtempSync(join(tmpdir(), 'vakt-bench-'));
const rows: string[][] = [['command', 'seconds', 'requests', 'peak MB', 'result']];

/** A hub with devices, and the files with which `vakt fleet` connects to it. */
async function openHub(count: number): Promise<HubEmulator> {
  const hub = await HubEmulator.start();
  addSimulatedDevices(hub, count);
  writeFileSync(join(folder, 'ca.pem'), hub.caPem);
  const text = `${hub.serviceConnectionString()};GatewayHostName=localhost:${hub.restPort}`;
  writeFileSync(join(folder, 'hub.txt'), text, { mode: 0o600 });
  return hub;
}

/** Runs `vakt fleet …` and adds a row. @param killWhen polled condition */
async function measure(
  label: string,
  hub: HubEmulator,
  args: readonly string[],
  killWhen = () => false,
): Promise<void> {
  let requests = 0;
  const count = () => {
    requests += 1;
  };
  hub.on('restRequest', count);
  const access = ['--connection-string-file', join(folder, 'hub.txt'), '--trusted-ca-file', join(folder, 'ca.pem')];
  const began = systemClock.monotonic();
  const command = [...nodeFlagsOf(PROGRAM), PROGRAM, 'fleet', ...args, ...access];
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'ignore'] });
  let last = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    last = `${last}${text}`.slice(-300);
  });
  const state = { peak: 0, hasEnded: false };
  const ended = new Promise<void>((resolve) => {
    child.on('close', () => {
      state.hasEnded = true;
      resolve();
    });
  });
  while (!state.hasEnded) {
    state.peak = Math.max(state.peak, highWater(child.pid ?? 0));
    if (killWhen()) child.kill('SIGKILL');
    await systemClock.sleep(milliseconds(50));
  }
  await ended;
  hub.off('restRequest', count);
  const took = ((systemClock.monotonic() - began) / 1_000).toFixed(1);
  const line = last.trim().split('\n').at(-1) ?? '';
  rows.push([label, took, String(requests), state.peak.toFixed(0), line.slice(0, 70) || 'killed']);
}

/** Peak of the resident memory so far, in MB; 0 if the process has exited. */
function highWater(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1_024;
  } catch {
    return 0;
  }
}

/** Reported properties like an agent's, about 1 KB. */
const reported = (number: number) => ({
  securityAgent: {
    version: '0.1.0',
    state: number % 50 === 0 ? 'degraded' : 'running',
    configuration: { desiredVersion: 2, source: 'desired', errors: {}, warnings: {} },
    collectors: {
      ProcessCreate: { state: 'on', source: 'auditUnicast' },
      Login: { state: 'on', source: 'auditUnicast' },
    },
    delivery: { lastSentAt: '2026-05-01T10:00:00.000Z', messagesSent: number, collected: number, delivered: number },
    detections: { alerts: { critical: 0, high: number % 7 === 0 ? 1 : 0, medium: 0, low: 1, informational: 0 } },
    posture: { baseline: { failed: number % 9 }, recommendations: { openPorts: { severity: 'Medium', count: 2 } } },
  },
});

async function peer(): Promise<void> {
  const hub = await openHub(PEER_DEVICES);
  const service = new ServiceClient(hub);
  const began = systemClock.monotonic();
  for (let n = 1; n <= PEER_DEVICES; n += 1) {
    await service.registry.addModule({ deviceId: simulatedDevice(n), moduleId: MODULE });
    await service.registry.updateModuleTwin(simulatedDevice(n), MODULE, { tags: { site: 1 } }, '*');
  }
  const took = (systemClock.monotonic() - began) / 1_000;
  const whole = (took * COUNT) / PEER_DEVICES;
  rows.push([`a plain loop, ${COUNT}`, whole.toFixed(1), String(COUNT * 2), '', `reckoned from ${PEER_DEVICES}`]);
  service.close();
  await hub.stop();
}

const create = ['create', '--all', '--yes', '--tag', 'site=1'];

async function creation(): Promise<void> {
  const hub = await openHub(COUNT);
  await measure(`create ${COUNT} from nothing`, hub, create);
  await measure('the same again', hub, create);
  for (let n = 1; n <= COUNT; n += 1) hub.patchReported(simulatedDevice(n), MODULE, reported(n));
  await measure(`status of ${COUNT}`, hub, ['status']);
  await measure('status --degraded', hub, ['status', '--degraded']);
  const file = join(folder, 'desired.json');
  writeFileSync(file, JSON.stringify({ [OBJECT]: { snapshotFrequency: { value: 'PT6H' } } }));
  await measure(`configure ${COUNT}`, hub, ['configure', file, '--all', '--yes']);
  await measure('the same again', hub, ['configure', file, '--all', '--yes']);
  await hub.stop();
}

async function disturbed(): Promise<void> {
  const hub = await openHub(COUNT);
  await measure('create, killed in the middle', hub, create, () => hub.modules.length > COUNT / 2);
  hub.faults.inject({ kind: 'throttleRest', perSecond: 100, retryAfter: 1 });
  hub.faults.inject({ kind: 'restStatus', status: 400, text: `${simulatedDevice(COUNT).slice(0, -1)}` });
  await measure('resumed: 100 requests a second, some refused', hub, create);
  hub.faults.clear();
  await measure('run again', hub, create);
  await hub.stop();
}

async function memory(): Promise<void> {
  for (const count of [MANY / 100, MANY / 10, MANY]) {
    const before = process.memoryUsage().rss;
    const hub = await openHub(count);
    for (let n = 1; n <= count; n += 1) {
      hub.addModule({ deviceId: simulatedDevice(n), moduleId: MODULE });
      hub.patchReported(simulatedDevice(n), MODULE, reported(n));
    }
    const grown = (process.memoryUsage().rss - before) / 1024 / 1024;
    rows.push([`(emulator with ${count} devices and twins)`, '', '', grown.toFixed(0), 'its growth']);
    await measure(`status of ${count}`, hub, ['status', '--csv']);
    await measure(`create, nothing to do, ${count}`, hub, ['create', '--all', '--yes']);
    await hub.stop();
  }
}

try {
  await peer();
  await creation();
  await disturbed();
  await memory();
  report('vakt fleet', rows, ['Budget: status of 10000 within 10 s; memory must not grow with the number of devices.']);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
