import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runEmulator } from '../../src/emulator/command.ts';

describe('runEmulator', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'vakt-emulator-test-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  /** Runs until the line that tells how to start an agent. */
  const run = async () => {
    const stop = new AbortController();
    const lines: string[] = [];
    const out = (line: string) => {
      lines.push(line);
      if (line.startsWith('Start an agent')) stop.abort();
    };
    const options = { port: 0, controlPort: 0, deviceId: 'dev1', moduleId: 'azureiotsecurity', directory };
    await runEmulator(options, out, stop.signal);
    return lines;
  };
  const read = (file: string) => readFileSync(join(directory, file), 'utf8');

  it('writes what an agent needs to come here, and keeps the key to itself', async () => {
    const lines = await run();
    const [, port] = /localhost:(\d+)/.exec(lines.join('\n')) ?? [];
    assert.deepEqual(JSON.parse(read('agent.json')), {
      hub: {
        hostName: 'emulator.azure-devices.net',
        gatewayHostName: `localhost:${port}`,
        trustedCaFile: join(directory, 'ca.pem'),
      },
      identity: {
        kind: 'moduleKey',
        deviceId: 'dev1',
        moduleId: 'azureiotsecurity',
        keyFile: join(directory, 'module.key'),
      },
      stateDirectory: join(directory, 'state'),
      controlSocket: join(directory, 'control.sock'),
    });
    assert.match(read('ca.pem'), /^-----BEGIN CERTIFICATE-----/);
    assert.equal(Buffer.from(read('module.key'), 'base64').length, 32);
    assert.equal(statSync(join(directory, 'module.key')).mode & 0o777, 0o600);
    assert.ok(!lines.join('\n').includes(read('module.key').trim()));
  });

  it('uses the key of an earlier run again', async () => {
    await run();
    const key = read('module.key');
    await run();
    assert.equal(read('module.key'), key);
  });
});
