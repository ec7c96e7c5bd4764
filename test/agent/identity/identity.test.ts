import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import type { Presentation } from '../../../src/agent/identity/identity.ts';
import { createIdentity, type IdentitySettings } from '../../../src/agent/identity/kinds.ts';
import { moduleKey as moduleKind } from '../../../src/agent/identity/module-kinds.ts';
import { resourceOf, signSasToken } from '../../../src/agent/identity/sas-token.ts';
import { AgentError, type FailureId } from '../../../src/core/base/errors.ts';
import { HubFailure } from '../../../src/core/contract/hub.ts';
import { withCopies } from '../../harness/copies.ts';
import { skip } from '../../harness/require.ts';
import { newKey, temporaryDirectory } from '../hub/support.ts';
import { contextWith } from './local-services.ts';

const make = (config: IdentitySettings, hub: { hostName?: string; gatewayHostName?: string } = {}) =>
  createIdentity(config, contextWith({ hub }));

describe('an identity by shared keys', () => {
  const key = newKey();
  let directory: ReturnType<typeof temporaryDirectory>;
  beforeEach(() => {
    directory = temporaryDirectory();
  });
  afterEach(() => directory.remove());

  const moduleKey = (keyFile: string, secondaryKeyFile?: string): IdentitySettings => ({
    kind: 'moduleKey',
    deviceId: 'dev1',
    moduleId: 'azureiotsecurity',
    keyFile,
    ...(secondaryKeyFile === undefined ? {} : { secondaryKeyFile }),
  });
  const load = (config: IdentitySettings) => make(config, { hostName: 'contoso.azure-devices.net' });
  const present = (identity: ReturnType<typeof make>) => identity.present({ signal: new AbortController().signal });
  /** Whether the presentation's token is signed with this key, for this module. */
  const isSignedWith = ({ module, proof }: Presentation, key: string) =>
    proof.kind === 'token' && proof.token === signSasToken(resourceOf(module), key, proof.expiresAt).text;
  const refused = new HubFailure(new AgentError('CREDENTIAL_REFUSED', 'refused', ''), 'credentials');

  /** The id and message of the failure, which must not contain the key. */
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

  it('takes ids from the configuration and the key from a file', async () => {
    const identity = load(moduleKey(directory.write('module.key', `${key}\n`)));
    const presentation = await present(identity);
    const ids = { hostName: 'contoso.azure-devices.net', deviceId: 'dev1', moduleId: 'azureiotsecurity' };
    assert.deepEqual(presentation.module, { ...ids, connectTo: ids.hostName });
    assert.equal(presentation.source, 'primary');
    assert.ok(isSignedWith(presentation, key));
    assert.deepEqual(identity.secrets(), [key]);
  });

  it('reads the file again for each presentation', async () => {
    const identity = load(moduleKey(directory.write('module.key', key)));
    const other = newKey();
    directory.write('module.key', other);
    assert.ok(isSignedWith(await present(identity), other));
    assert.deepEqual(identity.secrets(), [other]);
  });

  it('rejects with what is wrong with a new file, as a credential that was refused', async () => {
    const identity = load(moduleKey(directory.write('module.key', key)));
    directory.write('module.key', 'broken!');
    const failure: unknown = await present(identity).catch((error: unknown) => error);
    assert.ok(failure instanceof HubFailure);
    assert.deepEqual([failure.error.id, failure.retryCause], ['SECRET_FILE_MALFORMED', 'credentials']);
  });

  describe('with a secondary key', () => {
    const secondary = newKey();
    let identity: ReturnType<typeof make>;
    beforeEach(() => {
      identity = load(moduleKey(directory.write('module.key', key), directory.write('secondary.key', secondary)));
    });

    it('tries it at once when the first one is refused, and keeps it when it works', async () => {
      assert.equal(identity.failed?.(await present(identity), refused), true);
      const presentation = await present(identity);
      assert.equal(presentation.source, 'secondary');
      assert.ok(isSignedWith(presentation, secondary));
      identity.accepted?.(presentation);
      assert.equal((await present(identity)).source, 'secondary');
    });

    it('does not try at once when both are refused, and then starts with the first one again', async () => {
      assert.equal(identity.failed?.(await present(identity), refused), true);
      assert.equal(identity.failed?.(await present(identity), refused), false);
      assert.equal((await present(identity)).source, 'primary');
    });

    it('stays with the first one while only the network fails', async () => {
      const network = new HubFailure(new AgentError('HUB_UNREACHABLE', 'away', ''), 'network');
      assert.equal(identity.failed?.(await present(identity), network), false);
      assert.equal((await present(identity)).source, 'primary');
    });

    for (const id of ['PROXY_REFUSED', 'CA_FILE_UNUSABLE'] as const) {
      it(`stays with the first one at ${id}, which is no answer of the hub`, async () => {
        const failure = new HubFailure(new AgentError(id, 'refused', ''), 'credentials');
        assert.equal(identity.failed?.(await present(identity), failure), false);
        assert.equal((await present(identity)).source, 'primary');
      });
    }

    it('tries the second one when the hub has no such module', async () => {
      const failure = new HubFailure(new AgentError('MODULE_UNKNOWN', 'no module', ''), 'credentials');
      assert.equal(identity.failed?.(await present(identity), failure), true);
    });

    it('tries a new first key when its file changes', async () => {
      identity.failed?.(await present(identity), refused);
      const other = newKey();
      directory.write('module.key', other);
      const presentation = await present(identity);
      assert.equal(presentation.source, 'primary');
      assert.ok(isSignedWith(presentation, other));
    });
  });

  const connectionString = (text: string) =>
    make({ kind: 'connectionString', file: directory.write('connection', text) });

  it('takes all of it from a connection string', async () => {
    const text = `HostName=contoso.azure-devices.net;DeviceId=dev1;ModuleId=m;SharedAccessKey=${key};GatewayHostName=edge:8883`;
    const presentation = await present(connectionString(text));
    assert.deepEqual(presentation.module, {
      hostName: 'contoso.azure-devices.net',
      deviceId: 'dev1',
      moduleId: 'm',
      connectTo: 'edge:8883',
    });
    assert.ok(isSignedWith(presentation, key));
  });

  it('names the source of the host: the connection string, unless a gateway is configured', () => {
    const file = directory.write('c', `HostName=a.net;DeviceId=d;ModuleId=m;SharedAccessKey=${key}`);
    const settings = { kind: 'connectionString', file } as const;
    assert.equal(make(settings).namedBy, `HostName (or GatewayHostName) in ${file}`);
    assert.equal(make(settings, { gatewayHostName: 'gw' }).namedBy, undefined);
    assert.equal(load(moduleKey(directory.write('module.key', key))).namedBy, undefined);
  });

  it('connects to the configured gateway rather than to that of a connection string', async () => {
    const file = directory.write(
      'c',
      `HostName=a.net;DeviceId=d;ModuleId=m;SharedAccessKey=${key};GatewayHostName=edge`,
    );
    const identity = make({ kind: 'connectionString', file }, { gatewayHostName: 'other:1' });
    assert.equal((await present(identity)).module.connectTo, 'other:1');
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
    [
      'with a port that does not exist',
      `HostName=h.net:99999;DeviceId=d;ModuleId=m;SharedAccessKey=${key}`,
      /HostName .* ports are 1 to 65535$/,
    ],
    [
      'with a URL as its gateway',
      `HostName=h.net;DeviceId=d;ModuleId=m;SharedAccessKey=${key};GatewayHostName=https://gw/`,
      /GatewayHostName .*: write "gw"$/,
    ],
    [
      'with a blank in its gateway',
      `HostName=h.net;DeviceId=d;ModuleId=m;SharedAccessKey=${key};GatewayHostName=my gw`,
      /GatewayHostName .* must be a host name/,
    ],
    [
      'with an id no hub has',
      `HostName=h;DeviceId=a/b;ModuleId=m;SharedAccessKey=${key}`,
      /DeviceId .* letters, digits and/,
    ],
    [
      'with a wildcard in an id',
      `HostName=h;DeviceId=d;ModuleId=m+;SharedAccessKey=${key}`,
      /ModuleId .* letters, digits and/,
    ],
    ['of a module with a certificate', 'HostName=h;DeviceId=d;ModuleId=m;x509=true', /has x509=true/],
    [
      'in JSON, as the CLI prints it',
      `{\n  "connectionString": "HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey=${key}"\n}\n`,
      /in quotation marks, as in JSON$/,
    ],
    [
      'in quotation marks',
      `"HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey=${key}"`,
      /in quotation marks, as in JSON$/,
    ],
  ] as const) {
    it(`refuses a connection string ${what}`, () => {
      assert.match(refusal(() => connectionString(text), 'SECRET_FILE_MALFORMED').message, says);
    });
  }

  it('explains how to fix a connection string in JSON, and one of a certificate', () => {
    const remedyFor = (text: string) => refusal(() => connectionString(text), 'SECRET_FILE_MALFORMED').remedy;
    assert.match(
      remedyFor(`{"connectionString": "HostName=h;SharedAccessKey=${key}"}`),
      /only the text between the quot/,
    );
    assert.match(remedyFor('HostName=h;DeviceId=d;ModuleId=m;x509=true'), /identity\.kind to "moduleCertificate"/);
  });

  it('ignores the gateway of a connection string beside a configured one', async () => {
    const text = `HostName=a.net;DeviceId=d;ModuleId=m;SharedAccessKey=${key};GatewayHostName=https://gw/`;
    const file = directory.write('connection', text);
    const identity = make({ kind: 'connectionString', file }, { gatewayHostName: 'other' });
    assert.equal((await present(identity)).module.connectTo, 'other');
  });

  it('leaves the dot at the end of a name out of user names and tokens', async () => {
    const settings = moduleKey(directory.write('module.key', key));
    const { module } = await present(make(settings, { hostName: 'contoso.azure-devices.net.' }));
    assert.equal(module.hostName, 'contoso.azure-devices.net');
    const text = `HostName=a.net;DeviceId=d;ModuleId=m;SharedAccessKey=${key}`;
    make({ kind: 'connectionString', file: directory.write('connection', text) }, { hostName: 'a.net.' });
  });

  for (const id of ['a+b', 'a#b', 'a/b', 'a b', 'a\n', 'ä', '', 'a'.repeat(129)]) {
    it(`has no setting for the id ${JSON.stringify(id)}, which no hub has`, () => {
      const settings = { kind: 'moduleKey', deviceId: 'dev1', keyFile: 'k' };
      assert.ok(v.safeParse(moduleKind.schema, settings).success);
      assert.ok(!v.safeParse(moduleKind.schema, { ...settings, deviceId: id }).success);
      assert.ok(!v.safeParse(moduleKind.schema, { ...settings, moduleId: id }).success);
    });
  }

  it('has settings for an id with every character that a hub allows', () => {
    const id = "aZ9-.%_*?!(),:=@$'";
    const settings = { kind: 'moduleKey', deviceId: id, moduleId: '$edgeAgent', keyFile: 'k' };
    assert.ok(v.safeParse(moduleKind.schema, settings).success);
  });

  it('refuses a connection string of another hub than the configured one', () => {
    const file = directory.write('connection', `HostName=a.net;DeviceId=d;ModuleId=m;SharedAccessKey=${key}`);
    const action = () => make({ kind: 'connectionString', file }, { hostName: 'b.net' });
    assert.match(refusal(action, 'CONFIG_INVALID').message, /b\.net.*a\.net/);
  });

  it('accepts a connection string with another form of the configured hub’s name', async () => {
    const hostName = 'a.device.azure-devices.net';
    const file = directory.write('connection', `HostName=${hostName};DeviceId=d;ModuleId=m;SharedAccessKey=${key}`);
    const identity = make({ kind: 'connectionString', file }, { hostName: 'a.azure-devices.net' });
    assert.equal((await present(identity)).module.hostName, hostName);
  });

  it('refuses the hub’s name for service APIs, and names the others', () => {
    const settings = moduleKey(directory.write('module.key', key));
    const { remedy } = refusal(
      () => make(settings, { hostName: 'a.service.azure-devices.net:8883' }),
      'CONFIG_INVALID',
    );
    assert.equal(remedy, 'Set hub.hostName to "a.azure-devices.net" or "a.device.azure-devices.net".');
  });

  it('asks for the hub when only the key is known', () => {
    const keyFile = directory.write('module.key', key);
    refusal(() => make(moduleKey(keyFile)), 'CONFIG_INCOMPLETE');
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
      assert.equal(load(moduleKey(file)).secrets()[0], key);
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
      if (process.getuid?.() === 0) assert.equal(load(moduleKey(file)).secrets()[0], key);
      chmodSync(file, 0o444);
      refusal(() => load(moduleKey(file)), 'SECRET_FILE_EXPOSED');
    } finally {
      if (before === undefined) delete process.env.CREDENTIALS_DIRECTORY;
      else process.env.CREDENTIALS_DIRECTORY = before;
    }
  });

  it("reads systemd's copy of a file, and names the file", async () => {
    const [file, copy] = [`${directory.path}/secrets/module.key`, directory.write('copy.key', key)];
    await withCopies({ [file]: copy }, () => {
      const identity = load(moduleKey(file));
      assert.deepEqual([identity.secrets()[0], identity.files], [key, [file]]);
      directory.write('copy.key', `${key}?`);
      const { message } = refusal(() => load(moduleKey(file)), 'SECRET_FILE_MALFORMED');
      assert.equal(message, `the key in ${file} is not base64`);
    });
  });

  it('refuses a file of another user, who could read it', function () {
    if (process.getuid?.() !== 0) return skip(this, 'only root can give files away');
    const file = directory.write('module.key', key);
    chownSync(file, 12_345, 0);
    const error = refusal(() => load(moduleKey(file)), 'SECRET_FILE_EXPOSED');
    assert.match(error.remedy, /^Run: chown 0 .* && chmod 600 /);
  });

  it('checks the target of a link', () => {
    const file = directory.write('module.key', key);
    const link = join(directory.path, 'link');
    symlinkSync(file, link);
    assert.equal(load(moduleKey(link)).secrets()[0], key);
    chmodSync(file, 0o644);
    refusal(() => load(moduleKey(link)), 'SECRET_FILE_EXPOSED');
  });

  it('reports a missing file', () => {
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
});
