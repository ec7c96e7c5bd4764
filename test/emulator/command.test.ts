import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { lineOf, runEmulator } from '../../src/emulator/command.ts';
import type { ReceivedMessage } from '../../src/emulator/message-log.ts';
import { temporaryFolder } from '../support/folders.ts';

describe('runEmulator', () => {
  let directory: string;
  beforeEach(() => {
    directory = temporaryFolder();
  });

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

  it('says what a message brought: how many events of each name, and which part of a snapshot', () => {
    const rows = (ExtraDetails: object) => [{ UserName: 'eve', ExtraDetails }, { UserName: 'bob' }];
    const label = { Part: '2', Parts: '3', SnapshotId: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f' };
    const events = [
      { Name: 'Login', Payload: rows({}) },
      { Name: 'LocalUsers', Payload: rows(label) },
      { Name: 'Login', Payload: [] },
      { Name: 'Odd', Payload: [null] },
    ];
    const message = { enqueuedAt: new Date(0), sequence: 7, deviceId: 'dev1', moduleId: 'mod1', sizeBytes: 900 };
    const line = lineOf({ ...message, duplicate: false, body: JSON.stringify({ Events: events }) } as ReceivedMessage);
    assert.equal(line, '00:00:00 dev1/mod1 sent message 7, 900 bytes: Login ×2, LocalUsers (part 2 of 3), Odd');
  });

  it('uses the key of an earlier run again', async () => {
    await run();
    const key = read('module.key');
    await run();
    assert.equal(read('module.key'), key);
  });
});
