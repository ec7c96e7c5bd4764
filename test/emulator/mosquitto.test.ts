import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CertificateAuthority, type IssuedCertificate, selfSigned } from '../../src/emulator/certificates.ts';
import { HubEmulator } from '../../src/emulator/hub.ts';
import { temporaryFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { DEVICE, MODULE, module, OTHER_KEY, token } from './clients.ts';

const NAME = `${DEVICE}/${MODULE}`;

describe('the hub emulator, with mosquitto_pub', () => {
  let hub: HubEmulator;
  let folder: string;

  before(function () {
    const isInstalled = spawnSync('mosquitto_pub', ['--help']).error === undefined;
    require(this, isInstalled ? undefined : 'mosquitto_pub is missing (Debian package mosquitto-clients)');
  });
  beforeEach(async () => {
    folder = temporaryFolder();
    hub = await HubEmulator.start({ modules: [module] });
  });
  afterEach(() => hub.stop());

  const write = (name: string, text: string) => {
    const file = join(folder, name);
    writeFileSync(file, text, { mode: 0o600 });
    return file;
  };
  /** Publishes a message, and resolves with the exit code and all output. */
  const publish = (credentials: readonly string[]) =>
    new Promise<{ code: unknown; output: string }>((resolve) => {
      const server = ['-h', 'localhost', '-p', String(hub.port), '--cafile', write('ca.pem', hub.caPem)];
      const user = ['-V', 'mqttv311', '-i', NAME, '-u', `${hub.hostName}/${NAME}/?api-version=2021-04-12`];
      const message = ['-q', '1', '-t', `devices/${DEVICE}/modules/${MODULE}/messages/events/a=b`, '-m', 'hello'];
      execFile(
        'mosquitto_pub',
        [...server, ...user, ...message, ...credentials],
        { timeout: 20_000, env: { ...process.env, XDG_CONFIG_HOME: folder } },
        (error, out, err) => resolve({ code: error === null ? 0 : error.code, output: out + err }),
      );
    });
  /**
   * In mosquitto_pub's own file: agents that other tests run report every program that starts on this machine, with its
   * arguments, and their messages are searched for tokens.
   */
  const withToken = (token: string) => {
    write('mosquitto_pub', `-P ${token}\n`);
    return [];
  };
  const withCertificate = ({ chainPem, keyPem }: IssuedCertificate) => {
    return ['--cert', write('cert.pem', chainPem), '--key', write('key.pem', keyPem)];
  };

  it('takes a message by a token', async () => {
    const { code, output } = await publish(withToken(token(hub)));
    assert.equal(code, 0, output);
    assert.deepEqual(
      hub.messages.map(({ body, applicationProperties }) => [body, applicationProperties]),
      [['hello', { a: 'b' }]],
    );
  });

  for (const keyType of ['ecdsa', 'rsa'] as const) {
    it(`takes a message by a certificate with an ${keyType} key and its chain`, async () => {
      const root = await CertificateAuthority.create();
      hub.addClientAuthority(root.certificatePem);
      hub.addModule({ deviceId: DEVICE, moduleId: MODULE, credential: { type: 'certificateAuthority' } });
      const own = await (await root.intermediate({ commonName: 'Factory' })).issue({ commonName: NAME, keyType });
      const { code, output } = await publish(withCertificate(own));
      assert.equal(code, 0, output);
      assert.deepEqual([hub.messages.length, hub.connections.at(-1)?.thumbprint], [1, own.thumbprint]);
    });
  }

  it('refuses a wrong key, and a certificate that is not registered', async () => {
    const byKey = await publish(withToken(token(hub, { key: OTHER_KEY })));
    assert.notEqual(byKey.code, 0);
    assert.match(byKey.output, /not authori[sz]ed/i);
    write('mosquitto_pub', '');
    const { thumbprint: primaryThumbprint } = await selfSigned({ commonName: NAME });
    hub.addModule({ deviceId: DEVICE, moduleId: MODULE, credential: { type: 'selfSigned', primaryThumbprint } });
    const byCertificate = await publish(withCertificate(await selfSigned({ commonName: NAME })));
    assert.notEqual(byCertificate.code, 0);
    assert.match(byCertificate.output, /not authori[sz]ed/i);
    assert.match(hub.connections.at(-1)?.reason ?? '', /thumbprint .* is not registered/);
    assert.deepEqual(hub.messages, []);
  });
});
