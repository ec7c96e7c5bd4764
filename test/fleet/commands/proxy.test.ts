import assert from 'node:assert/strict';
import { AgentError } from '../../../src/core/base/errors.ts';
import { ProxyEmulator } from '../../../src/emulator/proxy.ts';
import { FleetBed } from './bed.ts';

const USER = { name: 'us@er', password: 'p:ä% S3cret' };

describe('vakt fleet through a proxy', () => {
  let bed: FleetBed;
  let proxy: ProxyEmulator;
  beforeEach(async () => {
    bed = await FleetBed.open();
    bed.hub.addDevice({ deviceId: 'pump1' });
    bed.useCredential(undefined, (text) => text.replace(/;GatewayHostName=.*/, '')); // its name leads to it by the proxy only
    proxy = await ProxyEmulator.start({ routes: { [`${bed.hub.hostName}:443`]: bed.hub.restPort } });
  });
  afterEach(async () => {
    await proxy.stop();
    await bed.hub.stop();
  });

  const url = (user = '') => `http://${user}127.0.0.1:${proxy.port}`;
  const passwordFile = (text = USER.password) => bed.write('proxy.password', `${text}\n`);
  const withPassword = (file = passwordFile()) => ['--proxy', url('us%40er@'), '--proxy-password-file', file];
  const tunnels = () => proxy.requests.map(({ target, user, status }) => [target, user, status]);
  /** The error with which a command ends. No text of it has the password. */
  const failure = async (environment: NodeJS.ProcessEnv, ...args: string[]): Promise<AgentError> => {
    const error = await bed.runWith({ environment }, 'status', ...args).then(
      ({ out }) => assert.fail(out.join('\n')),
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof AgentError, String(error));
    const errorTexts = [
      error.message,
      error.remedy,
      error.stack,
      String(error.cause),
      (error.cause as Error | undefined)?.stack,
    ];
    assert.ok(!errorTexts.join(' ').includes('S3cret'), 'the password is variables');
    return error;
  };

  it('reaches the hub by --proxy, and verifies its certificate', async () => {
    const { status, out } = await bed.run('create', '--all', '--yes', '--proxy', url());
    assert.deepEqual([status, out], [0, ['Modules azureiotsecurity: 1 made.']]);
    const [first, ...others] = tunnels();
    assert.deepEqual(first, [`${bed.hub.hostName}:443`, undefined, 200]);
    assert.ok(others.length < 5, `${others.length} connections for one device`);
  });

  it('sends the user and the password of a file', async () => {
    proxy.setUser(USER);
    const { status, out, err } = await bed.run('status', ...withPassword());
    assert.deepEqual([status, err], [0, []]);
    assert.ok(!out.join(' ').includes('S3cret'));
    assert.deepEqual(tunnels()[0], [`${bed.hub.hostName}:443`, USER.name, 200]);
  });

  it('uses HTTPS_PROXY with its password, except for what NO_PROXY names', async () => {
    proxy.setUser(USER);
    const environment = { HTTPS_PROXY: url(`us%40er:${encodeURIComponent(USER.password)}@`) };
    assert.equal((await bed.runWith({ environment }, 'status')).status, 0);
    const before = proxy.requests.length;
    assert.deepEqual(tunnels()[0], [`${bed.hub.hostName}:443`, USER.name, 200]);
    bed.useCredential();
    assert.equal((await bed.runWith({ environment: { ...environment, NO_PROXY: 'localhost' } }, 'status')).status, 0);
    assert.equal(proxy.requests.length, before);
  });

  it('explains a missing user, a wrong password and a missing permission of the proxy', async () => {
    proxy.setUser(USER);
    const withoutUser = await failure({}, '--proxy', url());
    assert.deepEqual([withoutUser.id, /--proxy-password-file/.test(withoutUser.remedy)], ['PROXY_REFUSED', true]);
    const wrong = await failure({}, ...withPassword(passwordFile('another S3cret')));
    assert.match(wrong.message, /refused the user us@er or its password \(407\)$/);
    const ofEnvironment = await failure({ https_proxy: url('us%40er:S3cret@') });
    assert.match(ofEnvironment.remedy, /HTTPS_PROXY/);
    assert.deepEqual(
      tunnels().map(([, , status]) => status),
      [407, 407, 407],
      'each was asked once only',
    );
    proxy.setUser();
    proxy.behave('refuse');
    const forbidden = await failure({}, '--proxy', url());
    assert.deepEqual([forbidden.id, /443/.test(forbidden.remedy)], ['PROXY_REFUSED', true]);
  });

  it('repeats what a proxy could not connect', async () => {
    proxy.behave('unavailable');
    const status = bed.run('status', '--proxy', url());
    await proxy.waitForRequest(({ status }) => status === 502);
    proxy.behave('connect');
    assert.equal((await status).status, 0);
  });

  describe('for tokens of Microsoft Entra', () => {
    const APPLICATION = { AZURE_TENANT_ID: 'tenant', AZURE_CLIENT_ID: 'client', AZURE_CLIENT_SECRET: 'secret' };
    const before = { ...process.env };
    beforeEach(() => Object.assign(process.env, APPLICATION));
    afterEach(() => {
      for (const name of Object.keys(APPLICATION)) delete process.env[name];
      Object.assign(process.env, before);
    });

    it('asks for them with the same user and password', async () => {
      proxy.setUser(USER);
      proxy.behave('refuse'); // no request of this test may leave the machine
      const args = ['status', '--hub', 'hub.azure-devices.net', ...withPassword()];
      await assert.rejects(bed.runBare({}, ...args), { id: 'CREDENTIAL_REFUSED' });
      assert.deepEqual(tunnels()[0], ['login.microsoftonline.com:443', USER.name, 403]);
    });
  });

  it('rejects a password on the command line', async () => {
    const { id, message, remedy } = await failure({}, '--proxy', url('us%40er:S3cret@'));
    assert.equal(id, 'CONFIG_INVALID');
    assert.match(message, /^--proxy must not contain a password: .*--proxy-password-file$/);
    assert.equal(remedy, 'Correct --proxy, then run the command again.');
    const exposed = await failure({}, ...withPassword(bed.write('exposed', USER.password, 0o644)));
    assert.equal(exposed.id, 'SECRET_FILE_EXPOSED');
    await assert.rejects(bed.run('status', '--proxy-password-file', passwordFile()), {
      name: 'UsageError',
      message: /needs --proxy/,
    });
    assert.deepEqual(proxy.requests, []);
  });
});
