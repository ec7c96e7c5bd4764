import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { AgentError, type FailureId } from '../../../src/base/errors.ts';
import { type IdentityConfig, loadIdentity } from '../../../src/hub/identity/index.ts';
import { skip } from '../../support/require.ts';
import { newKey, temporaryDirectory } from '../support.ts';

describe('loadIdentity', () => {
  const key = newKey();
  let directory: ReturnType<typeof temporaryDirectory>;
  beforeEach(() => {
    directory = temporaryDirectory();
  });
  afterEach(() => directory.remove());

  const moduleKey = (keyFile: string): IdentityConfig => ({
    kind: 'moduleKey',
    deviceId: 'dev1',
    moduleId: 'azureiotsecurity',
    keyFile,
  });
  const load = (config: IdentityConfig) => loadIdentity(config, { hostName: 'contoso.azure-devices.net' });

  /** Of the failure: its id and what it says. Nothing of it may hold the key. */
  const refusal = (action: () => unknown, id: FailureId): AgentError => {
    try {
      action();
    } catch (error) {
      assert.ok(error instanceof AgentError, String(error));
      assert.equal(error.id, id, error.message);
      assert.ok(!`${error.message} ${error.remedy} ${error.stack}`.includes(key.slice(0, 12)), 'shows the secret');
      return error;
    }
    throw new Error(`was accepted instead of ${id}`);
  };

  it('takes ids from the configuration and the key from a file', () => {
    const identity = load(moduleKey(directory.write('module.key', `${key}\n`)));
    assert.deepEqual(identity, {
      kind: 'moduleKey',
      hostName: 'contoso.azure-devices.net',
      deviceId: 'dev1',
      moduleId: 'azureiotsecurity',
      sharedAccessKey: key,
    });
  });

  const connectionString = (text: string) =>
    loadIdentity({ kind: 'connectionString', file: directory.write('connection', text) });

  it('takes all of it from a connection string', () => {
    const text = `HostName=contoso.azure-devices.net;DeviceId=dev1;ModuleId=m;SharedAccessKey=${key};GatewayHostName=edge:8883`;
    assert.deepEqual(connectionString(text), {
      kind: 'connectionString',
      hostName: 'contoso.azure-devices.net',
      deviceId: 'dev1',
      moduleId: 'm',
      sharedAccessKey: key,
      gatewayHostName: 'edge:8883',
    });
  });

  for (const [what, text, says] of [
    ['of a device', `HostName=h;DeviceId=d;SharedAccessKey=${key}`, /not a module: it lacks ModuleId/],
    ['without a host', `DeviceId=d;ModuleId=m;SharedAccessKey=${key}`, /lacks HostName/],
    [
      'with a URL',
      `HostName=https://h.net/;DeviceId=d;ModuleId=m;SharedAccessKey=${key}`,
      /HostName .*: write "h\.net"$/,
    ],
    ['without a key', 'HostName=h;DeviceId=d;ModuleId=m', /lacks SharedAccessKey/],
    ['with an empty device', `HostName=h;DeviceId=;ModuleId=m;SharedAccessKey=${key}`, /lacks DeviceId/],
    ['that is only a key', key.replaceAll('=', ''), /part 1 .* is not Name=value/],
    ['with a damaged key', `HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey=${key.slice(0, 20)}*`, /is not base64/],
    ['that is empty', '', /lacks HostName/],
  ] as const) {
    it(`refuses a connection string ${what}`, () => {
      assert.match(refusal(() => connectionString(text), 'SECRET_FILE_MALFORMED').message, says);
    });
  }

  it('refuses a connection string of another hub than the configured one', () => {
    const file = directory.write('connection', `HostName=a.net;DeviceId=d;ModuleId=m;SharedAccessKey=${key}`);
    const action = () => loadIdentity({ kind: 'connectionString', file }, { hostName: 'b.net' });
    assert.match(refusal(action, 'CONFIG_INVALID').message, /b\.net.*a\.net/);
  });

  it('asks for the hub when only the key is known', () => {
    const keyFile = directory.write('module.key', key);
    refusal(() => loadIdentity(moduleKey(keyFile)), 'CONFIG_INCOMPLETE');
  });

  for (const [what, text, says] of [
    ['empty', '', /is missing/],
    ['not base64', 'no base64!', /is not base64/],
    ['too short', Buffer.from('short').toString('base64'), /has 5 bytes/],
    ['too long', Buffer.alloc(65).toString('base64'), /has 65 bytes/],
  ] as const) {
    it(`refuses a key that is ${what}`, () => {
      const file = directory.write('module.key', text);
      assert.match(refusal(() => load(moduleKey(file)), 'SECRET_FILE_MALFORMED').message, says);
    });
  }

  for (const [mode, who] of [
    [0o640, 'its group'],
    [0o620, 'its group'],
    [0o604, 'every user'],
    [0o602, 'every user'],
    [0o644, 'every user'],
  ] as const) {
    it(`refuses a file of mode ${mode.toString(8)} with the chmod that mends it`, () => {
      const file = directory.write("it's a key", key);
      chmodSync(file, mode);
      const error = refusal(() => load(moduleKey(file)), 'SECRET_FILE_EXPOSED');
      assert.ok(error.message.includes(`is open to ${who} (mode 0${mode.toString(8)})`), error.message);
      execFileSync('/bin/sh', ['-c', error.remedy.replace('Run: ', '')]);
      assert.equal(load(moduleKey(file)).sharedAccessKey, key);
    });
  }

  it('takes a systemd credential, whose access list shows as a group permission', () => {
    const file = directory.write('module.key', key);
    chmodSync(file, 0o440);
    if (process.getuid?.() === 0) chownSync(file, 0, 0);
    refusal(() => load(moduleKey(file)), 'SECRET_FILE_EXPOSED');
    const before = process.env.CREDENTIALS_DIRECTORY;
    process.env.CREDENTIALS_DIRECTORY = directory.path;
    try {
      if (process.getuid?.() === 0) assert.equal(load(moduleKey(file)).sharedAccessKey, key);
      chmodSync(file, 0o444);
      refusal(() => load(moduleKey(file)), 'SECRET_FILE_EXPOSED');
    } finally {
      if (before === undefined) delete process.env.CREDENTIALS_DIRECTORY;
      else process.env.CREDENTIALS_DIRECTORY = before;
    }
  });

  it('refuses a file of another user, who could read it', function () {
    if (process.getuid?.() !== 0) return skip(this, 'only root can give files away');
    const file = directory.write('module.key', key);
    chownSync(file, 12_345, 0);
    const error = refusal(() => load(moduleKey(file)), 'SECRET_FILE_EXPOSED');
    assert.match(error.remedy, /^Run: chown 0 .* && chmod 600 /);
  });

  it('judges a link by where it leads', () => {
    const file = directory.write('module.key', key);
    const link = join(directory.path, 'link');
    symlinkSync(file, link);
    assert.equal(load(moduleKey(link)).sharedAccessKey, key);
    chmodSync(file, 0o644);
    refusal(() => load(moduleKey(link)), 'SECRET_FILE_EXPOSED');
  });

  it('says when there is no such file', () => {
    refusal(() => load(moduleKey(join(directory.path, 'none'))), 'SECRET_FILE_MISSING');
  });

  it('refuses directories, and pipes without waiting for a writer', () => {
    const folder = join(directory.path, 'folder');
    mkdirSync(folder);
    refusal(() => load(moduleKey(folder)), 'SECRET_FILE_UNREADABLE');
    const pipe = join(directory.path, 'pipe');
    execFileSync('mkfifo', ['-m', '600', pipe]);
    refusal(() => load(moduleKey(pipe)), 'SECRET_FILE_UNREADABLE');
  });

  it('refuses a file far too large to be a secret', () => {
    const file = directory.write('module.key', 'A'.repeat(100_000));
    refusal(() => load(moduleKey(file)), 'SECRET_FILE_MALFORMED');
  });

  for (const kind of [
    'moduleCertificate',
    'deviceKey',
    'deviceCertificate',
    'provisioning',
    'edge',
    'identityService',
  ] as const) {
    it(`says that ${kind} isn't built yet, and what is`, () => {
      assert.match(refusal(() => load({ kind }), 'CONFIG_NOT_BUILT').remedy, /"moduleKey" or "connectionString"/);
    });
  }
});
