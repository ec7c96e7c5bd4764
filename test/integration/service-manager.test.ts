import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { newKey } from '../agent/hub/support.ts';
import { NotifyReceiver } from '../agent/linux/self/notify-receiver.ts';
import { until } from '../harness/until.ts';
import { STEADY, TestBed } from './test-bed.ts';

describe('The agent as a service', function () {
  this.timeout(120_000);
  let bed: TestBed;
  let manager: NotifyReceiver;
  let notifications: string[];

  beforeEach(async () => {
    bed = await TestBed.open({ desired: STEADY });
    bed.startWith(STEADY);
    manager = new NotifyReceiver(join(bed.directory, 'notify'));
    notifications = [];
  });
  afterEach(async () => {
    await bed.close();
    manager.close();
  });

  const environment = (more: NodeJS.ProcessEnv = {}) => ({ NOTIFY_SOCKET: join(bed.directory, 'notify'), ...more });
  const listen = () => notifications.push(...manager.messages().flatMap((message) => message.split('\n')));
  const wait = (predicate: () => boolean) =>
    until(
      () => `another notification; received: ${notifications.join(' | ')}`,
      () => {
        listen();
        return predicate();
      },
    );

  it('notifies the manager of its start, status, watchdog and stop', async () => {
    const agent = bed.startAgent({ environment: environment({ WATCHDOG_USEC: '2000000' }) });
    await wait(() =>
      notifications.some((line) => /^STATUS=Running, connected to the hub; \d+ events queued, 0 dropped\.$/.test(line)),
    );
    assert.equal(notifications[0], 'READY=1');
    const pings = () => notifications.filter((line) => line === 'WATCHDOG=1').length;
    const before = pings();
    await wait(() => pings() >= before + 2);
    agent.kill('SIGTERM');
    await agent.exited;
    listen();
    assert.deepEqual(notifications.slice(-2), ['STOPPING=1', 'STATUS=Stopping: sends what it can in ten seconds.']);
  });

  it('notifies the manager of its start even if the hub is unreachable', async () => {
    bed.writeConfiguration({
      hub: { hostName: bed.hub.hostName, gatewayHostName: 'localhost:1', trustedCaFile: 'ca.pem' },
    });
    bed.startAgent({ environment: environment() });
    await wait(
      () =>
        notifications.includes('READY=1') &&
        notifications.some((line) => /^STATUS=\w+, not connected to the hub/.test(line)),
    );
  });

  it('removes the variables by which a child process could notify the manager', async () => {
    const script = `process.on('SIGUSR2', () => require('node:fs').writeSync(3, process.env.NOTIFY_SOCKET + '\\n'));`;
    const output: string[] = [];
    const agent = bed.startAgent({
      environment: environment(),
      options: ['--require', bed.write('look.cjs', script)],
      onLine: (line) => output.push(line),
    });
    await wait(() => notifications.includes('WATCHDOG=1'));
    agent.kill('SIGUSR2');
    await wait(() => output.length > 0);
    assert.deepEqual(output, ['undefined']);
    agent.kill('SIGTERM');
    assert.deepEqual(await agent.exited, { status: 0, signal: null });
  });

  it('notifies the manager of an error at the start, with its remedy', async () => {
    bed.writeConfiguration({ stateDirectory: 7 });
    const { exited } = bed.startAgent({ environment: environment() });
    assert.deepEqual(await exited, { status: 78, signal: null });
    listen();
    assert.equal(notifications.length, 1);
    assert.match(
      notifications[0] ?? '',
      /^STATUS=Local Configuration, .*stateDirectory.*"vakt check"\. \(CONFIG_INVALID\)$/,
    );
  });

  describe('with a credential passed by systemd, whose original file is unreadable', () => {
    let credentials: string;
    let copy: string;
    beforeEach(() => {
      credentials = join(bed.directory, 'credentials');
      copy = join(credentials, 'secrets_module.key');
      mkdirSync(credentials);
      renameSync(join(bed.directory, 'module.key'), copy);
      const written = JSON.parse(readFileSync(bed.writeConfiguration(), 'utf8'));
      bed.writeConfiguration({ identity: { ...written.identity, keyFile: 'secrets/module.key' } });
    });
    const start = () => bed.startAgent({ environment: environment({ CREDENTIALS_DIRECTORY: credentials }) });

    it('connects with the key', async () => {
      start();
      await wait(() => notifications.some((line) => line.includes('connected to the hub;')));
    });

    it('names the copies among what it does not read again at a reload', async () => {
      const agent = start();
      await wait(() => notifications.includes('READY=1'));
      agent.lookNow();
      const { remedy } = await agent.waitForLog(({ msg }) => msg.startsWith('Got SIGHUP'));
      assert.match(
        String(remedy),
        /^To use changed settings, or changed files that systemd copies .*, restart the agent/,
      );
    });

    it('names the original file of a refused key, and that changing it takes a restart', async () => {
      writeFileSync(copy, newKey(), { mode: 0o600 });
      const agent = start();
      const { remedy } = await agent.waitForLog(({ id }) => id === 'CREDENTIAL_REFUSED');
      const file = join(bed.directory, 'secrets/module.key');
      assert.ok(String(remedy).endsWith(`; after a change of ${file}, run: systemctl restart vakt.`), String(remedy));
      assert.deepEqual((await agent.status()).hub.copies, { [file]: copy });
    });
  });
});
